"""Base class of predictors."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from jepa_vlm.typing import Latent, Prediction, SlotInputs


class Predictor(nn.Module, ABC):
    """Predicts the target view's latent from the context view's state. It never calls an encoder.

    It may add ``slots`` soft tokens to the context view, whose embeddings it learns. It holds no tensors before
    ``setup``.
    """

    slots: int = 0

    def setup(self, dim: int, generator: torch.Generator) -> None:
        """Create the weights for a decoder of hidden size ``dim``, in float32, drawn from ``generator`` alone."""

    def width(self, dim: int) -> int:
        """Return the size of the prediction for a context of size ``dim``."""
        return dim

    def slot_inputs(self) -> SlotInputs | None:
        """Return the embeddings of the soft tokens, or None if there are none.

        Raises:
            RuntimeError: If there are soft tokens but ``setup`` was not called.
        """
        return None

    @abstractmethod
    def forward(self, context: Latent) -> Prediction:
        """Return the predicted latent of each example."""


def expect_dim(context: Tensor, dim: int) -> None:
    """Check the context's last axis against the hidden size given at setup.

    Raises:
        ValueError: If they differ.
    """
    if context.shape[1] != dim:
        raise ValueError(f"The context must have dim={dim}, as given at setup; got dim={context.shape[1]}.")


def not_set_up(predictor: nn.Module) -> RuntimeError:
    """Return the error for a predictor that is used before its weights exist."""
    return RuntimeError(f"{type(predictor).__name__} has no weights yet; call setup(dim, generator) first.")
