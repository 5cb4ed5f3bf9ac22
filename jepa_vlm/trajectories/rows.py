"""Rows of a source: trajectories that are read when they are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from itertools import accumulate
from typing import Self, final, overload

from jepa_vlm.trajectories.bad_rows import BadRows
from jepa_vlm.trajectories.trajectory import Trajectory


class Rows(Sequence[Trajectory], ABC):
    """Trajectories of a source, each read anew when it is asked for. Picklable; holds no open file.

    Reading a row checks it: keys, boxes, and images by their headers. What stands in the source but is no trajectory
    by the format's own rules (a video, say) is no row; ``dropped`` counts it. ``bad`` is the policy for rows that
    cannot be used; reading one raises all the same, unless the policy repairs it: see ``RowReader``.
    """

    bad: BadRows = BadRows()

    def under(self, bad: BadRows) -> Self:
        """Return the same rows under another policy."""
        changed = copy(self)
        changed.bad = bad
        return changed

    @property
    def sources(self) -> Sequence[Rows]:
        """The parts whose bad rows are counted by themselves."""
        return [self]

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many entries of the source are left out, by reason."""
        return {}

    @property
    @abstractmethod
    def ids(self) -> Sequence[str]:
        """The id of every row, unique in the source, without reading its images."""

    @abstractmethod
    def place(self, index: int) -> str:
        """Return the file and row, as messages name it."""

    @abstractmethod
    def read(self, index: int) -> Trajectory:
        """Return row ``index``, from 0.

        Raises:
            DataError: If it is not what it must be; the message begins with the row's place.
        """

    @overload
    def __getitem__(self, index: int) -> Trajectory: ...
    @overload
    def __getitem__(self, index: slice) -> Picked: ...
    def __getitem__(self, index: int | slice) -> Trajectory | Picked:
        if isinstance(index, slice):
            return Picked(self, range(len(self))[index])
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"Row {index} is outside a source of {len(self)} rows.")
        return self.read(at)


@final
class Picked(Rows):
    """Some rows of a source.

    Args:
        rows: The source.
        indices: Which of its rows, in order.
        why: The reason to count the others as dropped, or "" if they are used elsewhere.
    """

    def __init__(self, rows: Rows, indices: Sequence[int], *, why: str = "") -> None:
        self._rows, self._indices, self._why = rows, indices, why
        self.bad = rows.bad

    def under(self, bad: BadRows) -> Picked:
        """Return the picked rows under another policy."""
        return Picked(self._rows.under(bad), self._indices, why=self._why)

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def dropped(self) -> Mapping[str, int]:
        """What the source left out, and the rows that were not picked."""
        more = {self._why: len(self._rows) - len(self)} if self._why else {}
        return {**self._rows.dropped, **more}

    @property
    def ids(self) -> Sequence[str]:
        """The ids of the picked rows."""
        ids = self._rows.ids
        return [ids[i] for i in self._indices]

    def place(self, index: int) -> str:
        """Return the place in the source."""
        return self._rows.place(self._indices[index])

    def read(self, index: int) -> Trajectory:
        """Return a picked row."""
        return self._rows.read(self._indices[index])


@final
class Keeping(Rows):
    """Rows whose texts may hold certain special tokens of the backbone.

    Args:
        rows: The source.
        tokens: Added to every trajectory's ``keep``.
    """

    def __init__(self, rows: Rows, tokens: Sequence[str]) -> None:
        self._rows, self._tokens = rows, tuple(tokens)
        self.bad = rows.bad

    def under(self, bad: BadRows) -> Keeping:
        """Return the same rows under another policy."""
        return Keeping(self._rows.under(bad), self._tokens)

    @property
    def sources(self) -> Sequence[Rows]:
        """The source's parts, with the tokens."""
        own = self._rows.sources
        return [self] if len(own) == 1 else [Keeping(source, self._tokens) for source in own]

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def dropped(self) -> Mapping[str, int]:
        """What the source left out."""
        return self._rows.dropped

    @property
    def ids(self) -> Sequence[str]:
        """The source's ids."""
        return self._rows.ids

    def place(self, index: int) -> str:
        """Return the place in the source."""
        return self._rows.place(index)

    def read(self, index: int) -> Trajectory:
        """Return a row of the source, its tokens allowed."""
        found = self._rows.read(index)
        return replace(found, keep=(*found.keep, *self._tokens))


@final
class Joined(Rows):
    """Sources one after another, each with its own policy for bad rows until one is set for all.

    Args:
        parts: At least one source.
    """

    def __init__(self, parts: Sequence[Rows]) -> None:
        self.parts = tuple(parts)
        self._starts = [0, *accumulate(len(part) for part in self.parts)]
        self._as_one = False

    def under(self, bad: BadRows) -> Joined:
        """Return the parts as one source under a policy."""
        changed = Joined([part.under(bad) for part in self.parts])
        changed.bad, changed._as_one = bad, True
        return changed

    @property
    def sources(self) -> Sequence[Rows]:
        """The parts, unless a policy was set for all of them together."""
        return [self] if self._as_one else [source for part in self.parts for source in part.sources]

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def dropped(self) -> Mapping[str, int]:
        """The parts' counts, added."""
        counts: Counter[str] = Counter()
        for part in self.parts:
            counts.update(part.dropped)
        return dict(counts)

    @property
    def ids(self) -> Sequence[str]:
        """The parts' ids, one after another."""
        return [name for part in self.parts for name in part.ids]

    def place(self, index: int) -> str:
        """Return the place in its part."""
        part, own = self._find(index)
        return part.place(own)

    def read(self, index: int) -> Trajectory:
        """Return a row of the part that holds it."""
        part, own = self._find(index)
        return part.read(own)

    def _find(self, index: int) -> tuple[Rows, int]:
        number = bisect_right(self._starts, index) - 1
        return self.parts[number], index - self._starts[number]


def policy_of(source: Sequence[Trajectory]) -> BadRows:
    """Return the policy of a source for bad rows; trajectories that come from no file have the default one."""
    return source.bad if isinstance(source, Rows) else BadRows()
