"""What a training step costs: counters for running code, and an estimate of its memory."""

from jepa_vlm.cost.counters import AliveBytes, FlopCounter, fused_on_meta
from jepa_vlm.cost.memory_estimate import DecoderShape, MicroBatchSize, Shape, StepMemory, VisionShape, step_memory

__all__ = [
    "AliveBytes",
    "DecoderShape",
    "FlopCounter",
    "MicroBatchSize",
    "Shape",
    "StepMemory",
    "VisionShape",
    "fused_on_meta",
    "step_memory",
]
