"""A dense auxiliary loss: every image token tells what its cell shows and where it lies."""

from __future__ import annotations

from typing import Any, final

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from benchmarks.pretrain_tiny.batches import IGNORED, QUARTERS_FROM, SHOWN, WORDS
from jepa_vlm.playground.canvas import GRID
from jepa_vlm.playground.vocabulary import MOVES

DETAIL_WEIGHT = 0.3
_FITS, _HOLE = WORDS[1].index("fits"), WORDS[1].index("hole")


@final
class Reader(nn.Module):
    """Reads words off image tokens by the model's own embedding of those words, so that image tokens become word-like.

    That is what lets the decoder find an object by its name. Ways and quarters are read by linear maps; a column by
    its digit, and a row by its digit with the halves of the embedding exchanged.
    The reader is thrown away after pretraining.

    Args:
        tokenizer: Of the model; every word is one token after a space.
        dim: Of image tokens and embeddings.
    """

    def __init__(self, *, tokenizer: Any, dim: int) -> None:
        super().__init__()
        for slot, words in enumerate(WORDS):
            ids = torch.tensor([tokenizer.encode(f" {word}")[-1] for word in words])
            self.register_buffer(f"words_{slot}", ids, persistent=False)
        self.scale = nn.Parameter(torch.tensor(2.3))
        self.bias = nn.ParameterList(nn.Parameter(torch.zeros(len(words))) for words in WORDS)
        self.quarters = nn.ModuleList(nn.Linear(dim, len(values)) for values in SHOWN[QUARTERS_FROM:])
        moves = torch.tensor([tokenizer.encode(f" {move}")[-1] for move in MOVES])
        self.register_buffer("moves", moves, persistent=False)
        self.move_bias = nn.Parameter(torch.zeros(len(MOVES)))
        digits = torch.tensor([tokenizer.encode(str(n))[-1] for n in range(1, GRID + 1)])
        self.register_buffer("digits", digits, persistent=False)

    def forward(self, features: Tensor, embedding: Tensor, shown: Tensor, *, fitting: float = 0.0) -> Tensor:
        """Return the loss.

        Args:
            features: Image tokens, (pictures cells dim).
            embedding: Of the model, (vocabulary dim).
            shown: Indices into ``SHOWN``, or ``IGNORED``, (pictures slots rows columns).
            fitting: Weight of telling the piece that fits a puzzle's hole from the other pieces.
        """
        rows, columns = shown.shape[2:]
        cells = rearrange(features, "pictures cells dim -> (pictures cells) dim")
        words, ways, quarters = rearrange(shown, "pictures slots rows columns -> slots (pictures rows columns)").split(
            [len(WORDS), len(MOVES), len(self.quarters)]
        )
        total = features.new_zeros((), dtype=torch.float32)
        for slot, (bias, right) in enumerate(zip(self.bias, words, strict=True)):
            logits = cells @ embedding[self.get_buffer(f"words_{slot}")].T * self.scale.exp() + bias
            total = total + F.cross_entropy(logits.float(), right)
        if (told := ways[0] != IGNORED).any():
            logits = cells[told] @ embedding[self.get_buffer("moves")].T * self.scale.exp() + self.move_bias
            total = total + F.binary_cross_entropy_with_logits(logits.float(), ways[:, told].T.float())
        for quarter, right in zip(self.quarters, quarters, strict=True):
            if (told := right != IGNORED).any():
                total = total + DETAIL_WEIGHT * F.cross_entropy(quarter(cells[told]).float(), right[told])
        at = torch.arange(rows * columns, device=features.device).repeat(len(features))
        digits = embedding[self.get_buffer("digits")] * self.scale.exp()
        total = total + F.cross_entropy((cells @ digits.T).float(), at % columns)
        total = total + F.cross_entropy((cells @ digits.roll(digits.shape[1] // 2, 1).T).float(), at // columns)
        if fitting and (shown[:, 1] == _FITS).any():
            total = total + fitting * self._fitting(features, embedding, shown)
        return total

    def _fitting(self, features: Tensor, embedding: Tensor, shown: Tensor) -> Tensor:
        """Return the cross-entropy over a puzzle's pieces of which one reads most like ``fits``."""
        things = rearrange(shown[:, 1], "pictures rows columns -> pictures (rows columns)")
        quarters = rearrange(shown[:, QUARTERS_FROM], "pictures rows columns -> pictures (rows columns)")
        puzzles = (things == _FITS).any(1)
        pieces = (quarters != IGNORED) & (things != _HOLE)
        logits = (features @ embedding[self.get_buffer("words_1")[_FITS]] * self.scale.exp()).float()
        logits = logits.masked_fill(~pieces, float("-inf"))
        return F.cross_entropy(logits[puzzles], (things == _FITS).int().argmax(1)[puzzles])
