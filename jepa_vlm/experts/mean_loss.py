"""Elementwise distances of feature and dense maps."""

from __future__ import annotations

from typing import Literal, final

from einops import reduce
from torch import Tensor

from jepa_vlm.experts.expert import ExpertLoss
from jepa_vlm.typing import PerExample, at_least_float32


@final
class MeanLoss(ExpertLoss):
    """Absolute or squared difference, averaged over all of an example.

    Args:
        power: 1 (CoVT: depth, edges) or 2 (CoVT: DINOv2).

    Raises:
        ValueError: If ``power`` is neither.

    Example:
        >>> import torch
        >>> MeanLoss(power=2)(torch.zeros(1, 1, 2), torch.tensor([[[1.0, 3.0]]]))
        tensor([5.])
    """

    def __init__(self, *, power: Literal[1, 2]) -> None:
        super().__init__()
        if power not in (1, 2):
            raise ValueError(f"power must be 1 or 2, got {power!r}.")
        self.power = power

    def forward(self, answer: Tensor, target: Tensor) -> PerExample:
        """See ``ExpertLoss.forward``.

        Raises:
            ValueError: If the shapes differ.
        """
        if answer.shape != target.shape:
            raise ValueError(f"Answer and target must have one shape, got {answer.shape} and {target.shape}.")
        answer, target = at_least_float32(answer, target)
        return reduce((answer - target).abs() ** self.power, "batch ... -> batch", "mean")

    def extra_repr(self) -> str:
        """Show the power."""
        return f"power={self.power}"
