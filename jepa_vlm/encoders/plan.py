"""Plans: how the views of a batch are laid out in what an engine runs. Pure data, made in the collator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor

from jepa_vlm.views import Request


@final
@dataclass(frozen=True)
class Branch:
    """Tokens that continue a prefix which another segment of the packed sequence already computes.

    Args:
        start: Where in the sequence the shared prefix begins.
        prefix: Its length; the branch sees it whole.
        length: Tokens of the branch, causal among themselves.
    """

    start: int
    prefix: int
    length: int


@final
@dataclass(frozen=True)
class Layout:
    """Which tokens of a packed sequence see which: causal segments tile its front, branches its rest, in order.

    Args:
        segments: Lengths of the causal segments.
        branches: See ``Branch``.
    """

    segments: tuple[int, ...]
    branches: tuple[Branch, ...] = ()

    def __len__(self) -> int:
        return sum(self.segments) + sum(branch.length for branch in self.branches)


@final
@dataclass(frozen=True)
class Location:
    """Where the tokens of one encoding's views ended up.

    Args:
        row: Name of the row.
        index: For every token of every view, examples one after another: its place in the row; -1 if nobody reads it.
    """

    row: str
    index: Tensor


@final
@dataclass(frozen=True)
class BatchPlan:
    """What an engine runs for a batch, and where each encoding is found in it.

    Args:
        rows: By name, in the order in which they run.
        locations: By encoding.
    """

    rows: Mapping[str, Any]
    locations: Mapping[Request, Location]

    def tokens(self) -> int:
        """Return how many tokens the decoder computes: in every row, as many as its last place that is read."""
        ends: dict[str, int] = {}
        for location in self.locations.values():
            ends[location.row] = max(ends.get(location.row, 0), int(location.index.max()) + 1)
        return sum(ends.values())
