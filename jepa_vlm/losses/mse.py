"""The squared distance (MSE)."""

from __future__ import annotations

from typing import final

from einops import reduce

from jepa_vlm.losses.latent_loss import LatentLoss
from jepa_vlm.typing import Latent, PerExample, at_least_float32, shape_checked


@final
class MSELoss(LatentLoss):
    """Squared difference, averaged over ``dim`` (LVR's reconstruction loss).

    Example:
        >>> MSELoss()(torch.zeros(1, 2), torch.tensor([[1.0, 3.0]]))
        tensor([5.])
    """

    @shape_checked
    def forward(self, pred: Latent, target: Latent) -> PerExample:
        """Return the mean over ``dim`` of the squared difference."""
        pred, target = at_least_float32(pred, target)
        return reduce((pred - target).square(), "batch dim -> batch", "mean")
