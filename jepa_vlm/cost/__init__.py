"""What a training step costs: counted while it runs, and in closed form."""

from jepa_vlm.cost.alive_bytes import AliveBytes
from jepa_vlm.cost.closed_form import ExampleSize, StepFlops, pearl_step, sft_step
from jepa_vlm.cost.flop_counter import FlopCounter
from jepa_vlm.cost.memory import MicroBatch, StepMemory, step_memory
from jepa_vlm.cost.meta_attention import fused_on_meta
from jepa_vlm.cost.saved_bytes import SavedBytes
from jepa_vlm.cost.shape import DecoderShape, Shape, VisionShape
from jepa_vlm.cost.traffic import Traffic

__all__ = [
    "AliveBytes",
    "DecoderShape",
    "ExampleSize",
    "FlopCounter",
    "MicroBatch",
    "SavedBytes",
    "Shape",
    "StepFlops",
    "StepMemory",
    "Traffic",
    "VisionShape",
    "fused_on_meta",
    "pearl_step",
    "sft_step",
    "step_memory",
]
