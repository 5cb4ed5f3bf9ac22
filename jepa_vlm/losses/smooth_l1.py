"""The smooth absolute distance (smooth L1), which the Pearl paper uses."""

from __future__ import annotations

from typing import final

import torch.nn.functional as F
from einops import reduce

from jepa_vlm.losses.latent_loss import LatentLoss
from jepa_vlm.typing import Latent, PerExample, at_least_float32, shape_checked


@final
class SmoothL1Loss(LatentLoss):
    """Smooth L1, averaged over ``dim``: quadratic for differences below ``beta``, linear above.

    Args:
        beta: Difference at which the loss turns from quadratic to linear, in the units of the latents.

    Raises:
        ValueError: If ``beta`` is not positive.

    References:
        Pearl, https://arxiv.org/abs/2604.08065, section 3.4 (its released code measures the cosine instead).

    Example:
        >>> SmoothL1Loss(beta=1.0)(torch.zeros(2, 4), torch.full((2, 4), 2.0))
        tensor([1.5000, 1.5000])
    """

    def __init__(self, *, beta: float = 1.0) -> None:
        super().__init__()
        if not beta > 0:
            raise ValueError(f"beta must be positive, got {beta}; for the plain absolute difference use L1Loss().")
        self.beta = beta

    @shape_checked
    def forward(self, pred: Latent, target: Latent) -> PerExample:
        """Return the mean over ``dim`` of the smooth absolute difference."""
        pred, target = at_least_float32(pred, target)
        each = F.smooth_l1_loss(pred, target, beta=self.beta, reduction="none")
        return reduce(each, "batch dim -> batch", "mean")

    def extra_repr(self) -> str:
        """Return ``beta`` for ``repr``."""
        return f"beta={self.beta}"
