"""What watches a run while it trains; one file each."""

from jepa_vlm.training.callbacks.finite_loss import FiniteLoss
from jepa_vlm.training.callbacks.fresh_optimizer import FreshOptimizer
from jepa_vlm.training.callbacks.gradients_reach import GradientsReach
from jepa_vlm.training.callbacks.interruption import StopRequest, StopWhenAsked
from jepa_vlm.training.callbacks.progress import Progress
from jepa_vlm.training.callbacks.target_average import TargetAverage

__all__ = [
    "FiniteLoss",
    "FreshOptimizer",
    "GradientsReach",
    "Progress",
    "StopRequest",
    "StopWhenAsked",
    "TargetAverage",
]
