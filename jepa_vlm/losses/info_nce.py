"""The contrastive distance: find your own target among those of the batch."""

from __future__ import annotations

from typing import ClassVar, final

import torch
import torch.nn.functional as F

from jepa_vlm.losses.latent_loss import LatentLoss
from jepa_vlm.typing import Latent, PerExample, at_least_float32, full_precision, shape_checked


@final
class InfoNCELoss(LatentLoss):
    """Cross-entropy of picking an example's own target, by cosine, among all targets of the micro-batch.

    The negatives are the rows that this call is given. So, unlike every other loss here, it is exempt from the
    invariance under accumulation: 4 x 1 and 1 x 4 are different losses, and a batch of one gives 0 and teaches nothing.

    Args:
        temperature: Divides the cosines.
        symmetric: Average with the other direction, in which each target picks its prediction (VL-JEPA, CLIP).

    Raises:
        ValueError: If ``temperature`` is not positive.

    References:
        van den Oord et al., 2018, https://arxiv.org/abs/1807.03748.

    Example:
        >>> InfoNCELoss(temperature=1.0)(torch.eye(2), torch.eye(2))
        tensor([0.3133, 0.3133])
    """

    across_batch: ClassVar[bool] = True

    def __init__(self, *, temperature: float = 0.07, symmetric: bool = False) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}.")
        self.temperature, self.symmetric = temperature, symmetric

    @shape_checked
    def forward(self, pred: Latent, target: Latent) -> PerExample:
        """Return each example's cross-entropy over the batch's targets."""
        pred, target = at_least_float32(pred, target)
        with full_precision(pred.device):
            logits = F.normalize(pred, dim=-1) @ F.normalize(target, dim=-1).T / self.temperature
        own = torch.arange(len(logits), device=logits.device)
        loss = F.cross_entropy(logits, own, reduction="none")
        if not self.symmetric:
            return loss
        return (loss + F.cross_entropy(logits.T, own, reduction="none")) / 2

    def extra_repr(self) -> str:
        """Show temperature and direction."""
        return f"temperature={self.temperature}, symmetric={self.symmetric}"
