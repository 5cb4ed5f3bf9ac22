"""Engines: they encode the views of a batch on the cheapest exact passes, or by one stock pass each."""

from jepa_vlm.engine.batch import Batch, Read
from jepa_vlm.engine.collator import Collator
from jepa_vlm.engine.engine import Engine, TargetWeights
from jepa_vlm.engine.one_pass import OnePass
from jepa_vlm.engine.separate import Separate
from jepa_vlm.engine.text_encoder import TextEncoder

__all__ = ["Batch", "Collator", "Engine", "OnePass", "Read", "Separate", "TargetWeights", "TextEncoder"]
