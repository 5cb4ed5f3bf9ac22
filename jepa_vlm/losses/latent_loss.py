"""What a distance between latents must be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from jepa_vlm.typing import Latent, PerExample


class LatentLoss(nn.Module, ABC):
    """Distance from predicted to target latents, one value per example, in at least float32.

    It sums nothing over the batch: the caller divides by the examples of the whole accumulated global batch.
    It stops no gradient: that is the policy of the target view.
    """

    across_batch: ClassVar[bool] = False
    """Whether an example's value depends on the other rows, so that splitting a batch changes the loss."""

    sees_length: ClassVar[bool] = True
    """Whether the lengths of prediction and target count, and not their directions alone."""

    @abstractmethod
    def forward(self, pred: Latent, target: Latent) -> PerExample:
        """Return the distance of each row of ``pred`` from the same row of ``target``."""
