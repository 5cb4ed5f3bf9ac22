"""Base class of distances between latents."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from jepa_vlm.typing import Latent, PerExample


class LatentLoss(nn.Module, ABC):
    """Distance from predicted to target latents, one value per example, in at least float32.

    It does not sum over the batch: the caller divides by the number of examples in the whole accumulated global batch.
    It does not stop gradients: the policy of the target view does.
    """

    across_batch: ClassVar[bool] = False
    """Whether an example's value depends on the other rows, so that splitting a batch changes the loss."""

    sees_length: ClassVar[bool] = True
    """Whether the lengths of prediction and target matter, and not only their directions."""

    @abstractmethod
    def forward(self, pred: Latent, target: Latent) -> PerExample:
        """Return the distance of each row of ``pred`` from the same row of ``target``."""
