"""Rows of a source: trajectories that are read on access; mixtures of sources; reading under a policy for bad rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import accumulate
from typing import Self, TypeVar, final, overload

from jepa_vlm.errors import BackboneError, DataError
from jepa_vlm.trajectories.bad_rows import WAYS, BadRows, Problems, problem_lines, problem_of
from jepa_vlm.trajectories.trajectory import Trajectory

T = TypeVar("T")


class Rows(Sequence[Trajectory], ABC):
    """Trajectories of a source, each read anew on every access. Picklable; holds no open file.

    Reading a row checks it: keys, boxes, and images by their headers. An entry of the source that is no trajectory by
    the format's own rules (a video, say) is not a row; ``dropped`` counts it.

    Attributes:
        bad: The policy for rows that cannot be used. Reading such a row raises all the same, unless the policy repairs
            it; ``RowReader`` leaves it out.
        keep: Special tokens that the texts of every row may hold, besides the row's own.
    """

    bad: BadRows = BadRows()
    keep: tuple[str, ...] = ()

    def under(self, bad: BadRows, keep: Sequence[str] = ()) -> Self:
        """Return the same rows under another policy, with further tokens to keep."""
        changed = copy(self)
        changed.bad, changed.keep = bad, (*self.keep, *keep)
        return changed

    @property
    def sources(self) -> Sequence[Rows]:
        """The parts whose bad rows are counted separately."""
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
        """Return file and position of a row, for messages."""

    @abstractmethod
    def read(self, index: int) -> Trajectory:
        """Return row ``index``, counted from 0.

        Raises:
            DataError: If the row cannot be used; the message begins with the row's place.
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
        indices: Indices of the picked rows, in order.
        why: The reason under which the other rows are counted as dropped, or "" if they are used elsewhere.
    """

    def __init__(self, rows: Rows, indices: Sequence[int], *, why: str = "") -> None:
        self._rows, self._indices, self._why = rows, indices, why
        self.bad = rows.bad

    def under(self, bad: BadRows, keep: Sequence[str] = ()) -> Picked:
        """Return the picked rows under another policy, with further tokens to keep."""
        return Picked(self._rows.under(bad, keep), self._indices, why=self._why)

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def dropped(self) -> Mapping[str, int]:
        """The counts of the source, and the number of rows that were not picked."""
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
class Joined(Rows):
    """Sources one after another, each with its own policy for bad rows until one is set for all.

    Args:
        parts: At least one source.
    """

    def __init__(self, parts: Sequence[Rows]) -> None:
        self.parts = tuple(parts)
        self._starts = [0, *accumulate(len(part) for part in self.parts)]
        self._as_one = False

    def under(self, bad: BadRows, keep: Sequence[str] = ()) -> Joined:
        """Return the parts as one source under a policy, with further tokens to keep."""
        changed = Joined([part.under(bad, keep) for part in self.parts])
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
        """The sum of the parts' counts."""
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


@final
@dataclass(frozen=True)
class Source:
    """One source of a mixture.

    Args:
        name: The name in logs.
        examples: Its trajectories.
        weight: How often each example is seen in one pass over the mixture: 1 is once, 2 is twice, 0.5 is in every
            other pass.
    """

    name: str
    examples: Sequence[Trajectory]
    weight: float = 1.0

    @property
    def share(self) -> int:
        """The number of its examples in one pass, at least one."""
        return max(1, round(self.weight * len(self.examples)))


@final
class Mixture(Sequence[Trajectory]):
    """The sources one after another; ``training.order.Passes`` mixes them by weight.

    Args:
        sources: At least one source, none of them empty, with different names and positive weights.

    Raises:
        ValueError: If there is no source, one is empty, names repeat, or a weight is not positive.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = tuple(sources)
        names = [source.name for source in self.sources]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"A mixture needs sources with different names, got {names}.")
        for source in self.sources:
            if not source.examples or not source.weight > 0:
                raise ValueError(
                    f"Source {source.name} needs examples and a positive weight, got {len(source.examples)} examples "
                    f"and {source.weight}."
                )
        self._starts = [0, *accumulate(len(source.examples) for source in self.sources)]

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, index: int) -> Trajectory: ...
    @overload
    def __getitem__(self, index: slice) -> list[Trajectory]: ...
    def __getitem__(self, index: int | slice) -> Trajectory | list[Trajectory]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"Example {index} is outside a mixture of {len(self)}.")
        number = self.source_of(at)
        return self.sources[number].examples[at - self._starts[number]]

    def source_of(self, index: int) -> int:
        """Return the number of the source that holds an example, both counted from 0."""
        return bisect_right(self._starts, index) - 1


def policy_of(source: Sequence[Trajectory]) -> BadRows:
    """Return the policy of a source for bad rows; trajectories without a file have the default policy."""
    return source.bad if isinstance(source, Rows) else BadRows()


@final
class RowReader:
    """Reads rows of one source, leaves bad ones out as the policy says, and counts them.

    Args:
        bad: The source's policy.
    """

    def __init__(self, bad: BadRows) -> None:
        self.bad = bad
        self.rows = 0
        self.problems = Problems()
        self.notes: Counter[str] = Counter()

    def read(
        self,
        rows: Sequence[Trajectory],
        check: Callable[[Trajectory], T],
        *,
        advance: Callable[[], object] = lambda: None,
    ) -> Iterator[tuple[int, Trajectory, T]]:
        """Yield the index of every row that can be used, the row, and the result of ``check`` for it.

        Args:
            rows: All rows of the source, or some.
            check: Raises a DataError or a BackboneError if a row cannot be used.
            advance: Called for every row.

        Raises:
            DataError, BackboneError: At the first bad row, if they are refused.
        """
        for index in range(len(rows)):
            self.rows += 1
            advance()
            try:
                trajectory = rows[index]
                found = check(trajectory)
            except (DataError, BackboneError) as err:
                self._leave_out(err, rows.place(index) if isinstance(rows, Rows) else "")
                continue
            self.notes.update(trajectory.notes)
            yield index, trajectory, found

    def _leave_out(self, err: DataError | BackboneError, place: str) -> None:
        kind, message = problem_of(err, place)
        if self.bad.policy != "refuse":
            self.problems.add(kind, message)
            return
        if place:
            message = f"{message} {WAYS}"
        if isinstance(err, DataError):
            raise DataError(message, kind) from None
        raise BackboneError(message) from None

    def finish(self) -> None:
        """Check, after the last row, that not too many rows were left out.

        Raises:
            DataError: If the share is above the policy's limit, or no row is left; lists kinds, counts and places.
        """
        bad = self.problems.counts.total()
        if self.bad.allows(bad, self.rows):
            return
        raise DataError(
            f"{bad} of {self.rows} rows are bad ({bad / self.rows:.1%}); #max_bad={self.bad.most:g} is the largest "
            f"share that may be left out, and one row must be left. Repair the data, or raise #max_bad.\n{self.lines()}"
        )

    def lines(self) -> str:
        """Return the kinds of bad rows with their counts and first places."""
        return "\n".join(problem_lines(self.problems.summary()))

    def summary(self) -> dict[str, object]:
        """Return policy and counts as JSON values."""
        return {
            "bad": self.bad.policy,
            "max_bad": self.bad.most,
            "rows": self.rows,
            "left_out": self.problems.summary(),
            "notes": dict(self.notes),
        }
