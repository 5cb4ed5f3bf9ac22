"""The contrastive loss: each prediction identifies its own target among those of the batch."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepa_vlm.losses.latent_loss import LatentLoss
from jepa_vlm.typing import Latent, PerExample, at_least_float32, full_precision, shape_checked

START, LEAST = 0.07, 0.01  # initial value and lower bound of a learned temperature, as in CLIP


@final
class InfoNCELoss(LatentLoss):
    """Cross-entropy of picking an example's own target, by cosine, among all targets of the micro-batch.

    The negatives are the other rows of this call. Unlike every other loss here, it is therefore exempt from invariance
    under gradient accumulation: 4 x 1 and 1 x 4 give different losses, and a batch of one gives 0 and no gradient.

    Two examples with the same target are still each other's negatives. Where answers repeat, as option letters do, the
    loss cannot fall below the mean, over the rows, of log(number of rows with the same target).

    Args:
        temperature: Divisor of the cosines. ``"learned"`` trains its logarithm, as CLIP does, from 0.07 on and with
            0.01 as the lower bound.
        symmetric: Whether to average with the other direction, in which each target picks its prediction (VL-JEPA,
            CLIP).

    Raises:
        ValueError: If ``temperature`` is neither positive nor ``"learned"``.

    References:
        van den Oord et al., 2018, https://arxiv.org/abs/1807.03748. Learned temperature: CLIP,
        https://arxiv.org/abs/2103.00020.

    Example:
        >>> InfoNCELoss(temperature=1.0)(torch.eye(2), torch.eye(2))
        tensor([0.3133, 0.3133])
    """

    across_batch: ClassVar[bool] = True
    sees_length: ClassVar[bool] = False

    def __init__(self, *, temperature: float | Literal["learned"] = START, symmetric: bool = False) -> None:
        super().__init__()
        if temperature != "learned" and (isinstance(temperature, str) or not temperature > 0):
            raise ValueError(f"temperature must be positive or 'learned', got {temperature!r}.")
        self.temperature, self.symmetric = temperature, symmetric
        learned = temperature == "learned"
        self.log_scale = nn.Parameter(torch.tensor(-math.log(START))) if learned else None

    @shape_checked
    def forward(self, pred: Latent, target: Latent) -> PerExample:
        """Return the cross-entropy of each example over the batch's targets."""
        pred, target = at_least_float32(pred, target)
        with full_precision(pred.device):
            logits = F.normalize(pred, dim=-1) @ F.normalize(target, dim=-1).T * self._scale()
        own = torch.arange(len(logits), device=logits.device)
        loss = F.cross_entropy(logits, own, reduction="none")
        if not self.symmetric:
            return loss
        return (loss + F.cross_entropy(logits.T, own, reduction="none")) / 2

    def extra_repr(self) -> str:
        """Return temperature and direction for ``repr``."""
        return f"temperature={self.temperature}, symmetric={self.symmetric}"

    def _scale(self) -> Tensor | float:
        if self.log_scale is None:
            return 1 / float(self.temperature)
        with torch.no_grad():
            self.log_scale.clamp_(
                max=-math.log(LEAST)
            )  # clamps the parameter itself, so that gradient can lower it again
        return self.log_scale.exp()
