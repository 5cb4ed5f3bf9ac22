"""Blocks: tokens that see each other both ways, such as one image's in Gemma 3. A row must hold each of them whole."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def whole(blocks: Tensor | None, length: int) -> int:
    """Return how many tokens from the front hold the first ``length`` and all of every block among them."""
    while blocks is not None and len(inner := _cut(blocks, length)):
        length = int(torch.isin(blocks, inner).nonzero()[-1]) + 1
    return length


def uncut(blocks: Tensor | None, length: int) -> int:
    """Return how many of the first ``length`` tokens come before every block that reaches beyond them."""
    while blocks is not None and len(inner := _cut(blocks, length)):
        length = int(torch.isin(blocks, inner).nonzero()[0])
    return length


def joined(spans: Sequence[tuple[Tensor | None, slice]]) -> Tensor | None:
    """Return the numbers of a row's blocks, no two views sharing one; None where all is causal."""
    numbered: list[Tensor] = []
    first = 0
    for blocks, part in spans:
        if blocks is None:
            return None
        numbered.append(torch.where(blocks[part] < 0, -1, blocks[part] + first))
        first += int(blocks.max()) + 1
    return torch.cat(numbered)


def _cut(blocks: Tensor, length: int) -> Tensor:
    """Return the numbers of the blocks that lie on both sides."""
    before, behind = blocks[:length].unique(), blocks[length:].unique()
    found: Tensor = before[torch.isin(before, behind) & (before >= 0)]
    return found
