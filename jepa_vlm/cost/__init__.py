"""What a training step costs: counters for running code, and an estimate of its memory."""

from jepa_vlm.cost.alive_bytes import AliveBytes
from jepa_vlm.cost.flop_counter import FlopCounter, fused_on_meta
from jepa_vlm.cost.memory import MicroBatch, StepMemory, step_memory
from jepa_vlm.cost.shape import DecoderShape, Shape, VisionShape

__all__ = [
    "AliveBytes",
    "DecoderShape",
    "FlopCounter",
    "MicroBatch",
    "Shape",
    "StepMemory",
    "VisionShape",
    "fused_on_meta",
    "step_memory",
]
