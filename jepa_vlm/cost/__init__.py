"""What a training step costs: counted while it runs, and in closed form."""

from jepa_vlm.cost.closed_form import ExampleSize, StepFlops, pearl_step, sft_step
from jepa_vlm.cost.flop_counter import FlopCounter
from jepa_vlm.cost.shape import DecoderShape, Shape, VisionShape

__all__ = ["DecoderShape", "ExampleSize", "FlopCounter", "Shape", "StepFlops", "VisionShape", "pearl_step", "sft_step"]
