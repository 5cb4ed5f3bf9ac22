"""Engines: they encode the views of a batch on the cheapest exact passes, or by one stock pass each."""

from jepa_vlm.encoders.batch import Batch, Read
from jepa_vlm.encoders.collator import Collator
from jepa_vlm.encoders.engine import Engine
from jepa_vlm.encoders.one_pass import OnePass
from jepa_vlm.encoders.separate import Separate
from jepa_vlm.encoders.target_weights import TargetWeights
from jepa_vlm.encoders.text_encoder import TextEncoder

__all__ = ["Batch", "Collator", "Engine", "OnePass", "Read", "Separate", "TargetWeights", "TextEncoder"]
