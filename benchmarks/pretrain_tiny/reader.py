"""A dense auxiliary loss: every image token reads out as the words that its cell shows."""

from __future__ import annotations

from typing import Any, final

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from benchmarks.pretrain_tiny.batches import SHOWN
from jepa_vlm.playground.canvas import GRID

PLACE_WEIGHT = 0.3


@final
class Reader(nn.Module):
    """Reads words off image tokens by the model's own embedding of those words, so that image tokens become word-like.

    That is what lets the decoder find an object by its name. The reader is thrown away after pretraining.

    Args:
        tokenizer: Of the model; every word is one token after a space.
        dim: Of image tokens and embeddings.
    """

    def __init__(self, *, tokenizer: Any, dim: int) -> None:
        super().__init__()
        for slot, words in enumerate(SHOWN):
            ids = torch.tensor([tokenizer.encode(f" {word}")[-1] for word in words])
            self.register_buffer(f"words_{slot}", ids, persistent=False)
        self.scale = nn.Parameter(torch.tensor(2.3))
        self.bias = nn.ParameterList(nn.Parameter(torch.zeros(len(words))) for words in SHOWN)
        self.place = nn.Linear(dim, 2 * GRID)

    def forward(self, features: Tensor, embedding: Tensor, shown: Tensor) -> Tensor:
        """Return the loss.

        Args:
            features: Image tokens, (pictures cells dim).
            embedding: Of the model, (vocabulary dim).
            shown: Indices into ``SHOWN``, (pictures slots rows columns).
        """
        rows, columns = shown.shape[2:]
        total = features.new_zeros((), dtype=torch.float32)
        for slot, bias in enumerate(self.bias):
            logits = features @ embedding[self.get_buffer(f"words_{slot}")].T * self.scale.exp() + bias
            right = rearrange(shown[:, slot], "pictures rows columns -> (pictures rows columns)")
            total = total + F.cross_entropy(
                rearrange(logits.float(), "pictures cells words -> (pictures cells) words"), right
            )
        cells = torch.arange(rows * columns, device=features.device).repeat(len(features))
        column, row = rearrange(
            self.place(features).float(), "pictures cells (axes at) -> axes (pictures cells) at", axes=2
        )
        return total + PLACE_WEIGHT * (
            F.cross_entropy(column, cells % columns) + F.cross_entropy(row, cells // columns)
        )
