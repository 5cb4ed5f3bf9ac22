"""The cosine distance, which Pearl's released code uses."""

from __future__ import annotations

from typing import ClassVar, final

import torch.nn.functional as F

from jepa_vlm.losses.latent_loss import LatentLoss
from jepa_vlm.typing import Latent, PerExample, at_least_float32, shape_checked


@final
class CosineLoss(LatentLoss):
    """One minus the cosine of the angle between prediction and target: between 0 and 2, whatever their lengths.

    Args:
        eps: Lower bound of the length that a latent is divided by; a zero latent is orthogonal to every other.

    Raises:
        ValueError: If ``eps`` is not positive.

    References:
        Pearl's released code and LLM-JEPA, https://arxiv.org/abs/2509.14252.

    Example:
        >>> CosineLoss()(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 5.0]]))
        tensor([1.])
    """

    sees_length: ClassVar[bool] = False

    def __init__(self, *, eps: float = 1e-8) -> None:
        super().__init__()
        if not eps > 0:
            raise ValueError(f"eps must be positive, got {eps}.")
        self.eps = eps

    @shape_checked
    def forward(self, pred: Latent, target: Latent) -> PerExample:
        """Return 1 - cos of each pair."""
        pred, target = at_least_float32(pred, target)
        return 1 - F.cosine_similarity(pred, target, dim=-1, eps=self.eps)

    def extra_repr(self) -> str:
        """Return ``eps`` for ``repr``."""
        return f"eps={self.eps}"
