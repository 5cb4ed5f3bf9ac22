"""From trajectories to tokens and batches."""

from jepa_vlm.serialization.serializer import RenderedExample, Serializer
from jepa_vlm.serialization.target_store import TargetStore
from jepa_vlm.serialization.template import render
from jepa_vlm.serialization.template_check import check_template

__all__ = [
    "RenderedExample",
    "Serializer",
    "TargetStore",
    "check_template",
    "render",
]
