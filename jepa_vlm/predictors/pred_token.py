"""Soft tokens ([PRED]): the language model itself is the predictor."""

from __future__ import annotations

from typing import final

import torch
from torch import nn

from jepa_vlm.predictors.predictor import Predictor, expect_dim, not_set_up
from jepa_vlm.typing import Latent, SlotInputs, shape_checked


@final
class PredTokenPredictor(Predictor):
    """Puts ``tokens`` soft tokens after the context; the language model predicts at the last one.

    Their embeddings are outside the vocabulary, so the tokenizer and the exported checkpoint do not change.

    Args:
        tokens: Number of soft tokens, K in the paper.
        std: Standard deviation of their initial values.

    Raises:
        ValueError: If ``tokens`` is less than 1 or ``std`` is not positive.

    References:
        Pearl, https://arxiv.org/abs/2604.08065 (K = 4). The released code's [PRED]
        embeddings get no gradient; these do.

    Example:
        >>> predictor = PredTokenPredictor(tokens=2)
        >>> predictor.setup(8, torch.Generator().manual_seed(0))
        >>> predictor.slot_inputs().shape
        torch.Size([2, 8])
    """

    inputs: nn.Parameter | None

    def __init__(self, *, tokens: int = 4, std: float = 0.02) -> None:
        super().__init__()
        if tokens < 1:
            raise ValueError(f"tokens must be at least 1, got {tokens}; for none use IdentityPredictor().")
        if not std > 0:
            raise ValueError(f"std must be positive, got {std}: equal soft tokens would stay equal.")
        self.slots, self.std = tokens, std
        self.register_parameter("inputs", None)

    def setup(self, dim: int, generator: torch.Generator) -> None:
        """Draw the embeddings of the soft tokens, [tokens, dim] in float32."""
        drawn = torch.randn(self.slots, dim, generator=generator, dtype=torch.float32, device=generator.device)
        self.inputs = nn.Parameter(drawn * self.std)

    def slot_inputs(self) -> SlotInputs | None:
        """Return the embeddings of the soft tokens."""
        if self.inputs is None:
            raise not_set_up(self)
        return self.inputs

    @shape_checked
    def forward(self, context: Latent) -> Latent:
        """Return ``context``: it is the state at the last soft token, where the language model already predicted."""
        if self.inputs is None:
            raise not_set_up(self)
        expect_dim(context, self.inputs.shape[1])
        return context

    def extra_repr(self) -> str:
        """Return the number of soft tokens for ``repr``."""
        return f"tokens={self.slots}, std={self.std}"
