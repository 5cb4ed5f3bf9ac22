"""Distance of masks, matched to each other where their order means nothing."""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor

from jepa_vlm.errors import missing_extra
from jepa_vlm.experts.expert import ExpertLoss, Maps
from jepa_vlm.typing import PerExample, at_least_float32, full_precision, shape_checked


@final
class MaskLoss(ExpertLoss):
    """(1 - dice) + binary cross-entropy between logits of masks and masks in [0, 1], averaged over the masks.

    dice = (2 * overlap + 1) / (sum of both areas + 1), so that two empty masks agree.

    Args:
        match: Whether the answers are first matched to the targets at the least total cost, one to one. Targets that
            are empty are absent then, and so many of the answers stay without a match: they count ``unmatched`` times
            their cross-entropy with an empty mask. Needs scipy.
        unmatched: See ``match``.

    Raises:
        ValueError: If ``unmatched`` is negative.

    References:
        Wakals/CoVT@80a28bf: Hungarian matching, (1 - dice) + BCE, and 0.1 times a negative term for its SAM expert.
    """

    def __init__(self, *, match: bool = False, unmatched: float = 0.1) -> None:
        super().__init__()
        if unmatched < 0:
            raise ValueError(f"unmatched must not be negative, got {unmatched}.")
        self.match, self.unmatched = match, unmatched

    @shape_checked
    def forward(self, answer: Maps, target: Maps) -> PerExample:
        """See ``ExpertLoss.forward``."""
        answer, target = (
            rearrange(maps, "batch masks height width -> batch masks (height width)")
            for maps in at_least_float32(answer, target)
        )
        if not self.match:
            return reduce(_distance(answer, target), "batch masks -> batch", "mean")
        return torch.stack([self._matched(own, wanted) for own, wanted in zip(answer, target, strict=True)])

    def _matched(self, answer: Tensor, target: Tensor) -> Tensor:
        try:
            from scipy.optimize import linear_sum_assignment
        except ImportError:
            raise missing_extra("scipy", "eval", "Matching masks") from None
        present = target[target.any(dim=1)]
        with torch.no_grad():
            costs = _distance(answer[:, None], present[None])
        rows, columns = linear_sum_assignment(costs.cpu().numpy())
        apart = torch.ones(len(answer), dtype=torch.bool)
        apart[torch.as_tensor(rows)] = False
        near = _distance(answer[torch.as_tensor(rows)], present[torch.as_tensor(columns)]).sum()
        far = F.softplus(answer[apart.to(answer.device)]).mean(dim=1).sum()
        return (near + self.unmatched * far) / len(answer)

    def extra_repr(self) -> str:
        """Show what was chosen."""
        return f"match={self.match}, unmatched={self.unmatched}"


def _distance(logits: Tensor, mask: Tensor) -> Tensor:
    with full_precision(logits.device):
        inside = logits.sigmoid()
        dice = (2 * (inside * mask).sum(-1) + 1) / (inside.sum(-1) + mask.sum(-1) + 1)
        logits, mask = torch.broadcast_tensors(logits, mask)
        return 1 - dice + F.binary_cross_entropy_with_logits(logits, mask.to(logits.dtype), reduction="none").mean(-1)
