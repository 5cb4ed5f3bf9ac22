"""Plans: how views are laid out in rows that one pass of the decoder computes. Pure data, made in the collator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor


@final
@dataclass(frozen=True)
class Branch:
    """Tokens that continue a prefix which another segment of the row already computes.

    Args:
        start: Where in the row the shared prefix begins.
        prefix: Its length; the branch sees it whole.
        length: Tokens of the branch, causal among themselves.
    """

    start: int
    prefix: int
    length: int


@final
@dataclass(frozen=True)
class Layout:
    """Which tokens of a packed row see which: causal segments tile its front, branches its rest, in order.

    Args:
        segments: Lengths of the causal segments.
        branches: See ``Branch``.
    """

    segments: tuple[int, ...]
    branches: tuple[Branch, ...] = ()

    def __len__(self) -> int:
        return sum(self.segments) + sum(branch.length for branch in self.branches)

    def numbers(self) -> dict[str, tuple[object, ...]]:
        """Return the layout as plain numbers, which travel with a batch and stay on the host."""
        return {"segments": self.segments, "branches": tuple((b.start, b.prefix, b.length) for b in self.branches)}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Layout:
        """Return the layout whose numbers a row carries."""
        return cls(tuple(row["segments"]), tuple(Branch(*numbers) for numbers in row["branches"]))


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
    """A batch's rows, ready to run, and where each encoding is found in them.

    Args:
        rows: Nested dictionaries of tensors and host numbers by row name, in the order in which they run.
        locations: By position in the list of encodings.
    """

    rows: Mapping[str, Mapping[str, object]]
    locations: tuple[Location, ...]

    def tokens(self) -> int:
        """Return how many tokens the decoder computes: in every row, as many as its last place that is read."""
        ends: dict[str, int] = {}
        for location in self.locations:
            ends[location.row] = max(ends.get(location.row, 0), int(location.index.max()) + 1)
        return sum(ends.values())
