"""Losses of an expert: one for maps and features, one for masks."""

from __future__ import annotations

from typing import Literal, final

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor

from jepa_vlm.contrib.covt.expert import ExpertLoss, Maps
from jepa_vlm.errors import missing_extra
from jepa_vlm.typing import PerExample, at_least_float32, full_precision, shape_checked

EPS = 1e-6


@final
class MeanLoss(ExpertLoss):
    """Absolute or squared difference, averaged over all numbers of an example.

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


@final
class MaskLoss(ExpertLoss):
    """CoVT's distance between logits of masks and masks in [0, 1]; a mask that is 0 everywhere is absent.

    The mean over the present masks of (1 - dice) + binary cross-entropy, plus ``absent`` times the mean cross-entropy
    of the other answers with an empty mask. dice = (2 * overlap + 1e-6) / (sum of both areas + 1e-6). An example
    without any mask adds 0.

    Args:
        match: Whether present masks are assigned to answers one to one, at the least total of 1 - dice, which needs
            scipy; otherwise answer i belongs to mask i.
        absent: Weight of the answers without a mask.

    Raises:
        ValueError: If ``absent`` is negative.

    References:
        Wakals/CoVT@80a28bf, covt_qwen2_5_vl.py: ``AnchorLoss.get_sam_token_loss``, ``dice_coeff``.
    """

    def __init__(self, *, match: bool = False, absent: float = 0.1) -> None:
        super().__init__()
        if absent < 0:
            raise ValueError(f"absent must not be negative, got {absent}.")
        self.match, self.absent = match, absent

    @shape_checked
    def forward(self, answer: Maps, target: Maps) -> PerExample:
        """See ``ExpertLoss.forward``."""
        with full_precision(answer.device):
            answer, target = (
                rearrange(maps, "batch masks height width -> batch masks (height width)")
                for maps in at_least_float32(answer, target)
            )
            return torch.stack([self._example(*pair) for pair in zip(answer, target, strict=True)])

    def _example(self, logits: Tensor, masks: Tensor) -> Tensor:
        present = masks.any(dim=1).nonzero()[:, 0]
        if not len(present):
            return 0 * logits.sum()
        own = present
        if self.match:
            own, order = _assigned(logits.detach(), masks[present])
            present = present[order]
        loss = 1 - _dice(logits[own], masks[present]).mean() + _cross_entropy(logits[own], masks[present])
        if len(own) < len(logits):
            others = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
            others[own] = False
            loss = loss + self.absent * _cross_entropy(logits[others], torch.zeros_like(logits[others]))
        return loss

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"match={self.match}, absent={self.absent}"


def _dice(logits: Tensor, masks: Tensor) -> Tensor:
    inside = logits.sigmoid()
    return (2 * (inside * masks).sum(-1) + EPS) / (inside.sum(-1) + masks.sum(-1) + EPS)


_cross_entropy = F.binary_cross_entropy_with_logits


def _assigned(logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Return the numbers of the assigned answers, and of their masks."""
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        raise missing_extra("scipy", "eval", "Matching masks") from None
    found = linear_sum_assignment((1 - _dice(logits[:, None], masks[None])).cpu().numpy())
    own, order = (torch.as_tensor(numbers, device=logits.device) for numbers in found)
    return own, order
