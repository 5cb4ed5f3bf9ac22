"""The absolute distance (L1)."""

from __future__ import annotations

from typing import final

from einops import reduce

from jepa_vlm.losses.latent_loss import LatentLoss
from jepa_vlm.typing import Latent, PerExample, at_least_float32, shape_checked


@final
class L1Loss(LatentLoss):
    """Absolute difference, averaged over ``dim``: the limit of SmoothL1Loss for a small ``beta``.

    Example:
        >>> L1Loss()(torch.zeros(1, 2), torch.tensor([[1.0, -3.0]]))
        tensor([2.])
    """

    @shape_checked
    def forward(self, pred: Latent, target: Latent) -> PerExample:
        """Return the mean over ``dim`` of the absolute difference."""
        pred, target = at_least_float32(pred, target)
        return reduce((pred - target).abs(), "batch dim -> batch", "mean")
