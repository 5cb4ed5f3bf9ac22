"""From trajectories to tokens and batches."""

from jepa_vlm.serialization.collator import Collator, Counter, Planner
from jepa_vlm.serialization.reads import Read
from jepa_vlm.serialization.serializer import Serializer
from jepa_vlm.serialization.target_store import TargetStore
from jepa_vlm.serialization.template import render
from jepa_vlm.serialization.template_check import check_template
from jepa_vlm.serialization.texts import TextReader
from jepa_vlm.serialization.tokenized import IGNORED, TokenizedView

__all__ = [
    "IGNORED",
    "Collator",
    "Counter",
    "Planner",
    "Read",
    "Serializer",
    "TargetStore",
    "TextReader",
    "TokenizedView",
    "check_template",
    "render",
]
