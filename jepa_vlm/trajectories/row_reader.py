"""Reads the rows of a source under its policy for bad ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, final

from jepa_vlm.errors import BackboneError, DataError
from jepa_vlm.trajectories.bad_rows import WAYS, BadRows, Problems, problem_lines, problem_of
from jepa_vlm.trajectories.rows import Rows
from jepa_vlm.trajectories.trajectory import Trajectory

T = TypeVar("T")


@final
class RowReader:
    """Reads rows of one source, leaves bad ones out as its policy says, and counts them.

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
        """Yield the index of every row that can be used, the row, and what ``check`` returns of it.

        Args:
            rows: Of the source, all or some.
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
        """Hold the rows that were left out to their largest share, after the last row.

        Raises:
            DataError: If they are too many, or none is left; lists kinds, counts and first places.
        """
        bad = self.problems.counts.total()
        if self.bad.allows(bad, self.rows):
            return
        raise DataError(
            f"{bad} of {self.rows} rows are bad ({bad / self.rows:.1%}); #max_bad={self.bad.most:g} is the largest "
            f"share that may be left out, and one row must be left. Repair the data, or raise #max_bad.\n{self.lines()}"
        )

    def lines(self) -> str:
        """Return the bad rows' kinds with their counts and first places."""
        return "\n".join(problem_lines(self.problems.summary()))

    def summary(self) -> dict[str, Any]:
        """Return policy and counts as JSON values."""
        return {
            "bad": self.bad.policy,
            "max_bad": self.bad.most,
            "rows": self.rows,
            "left_out": self.problems.summary(),
            "notes": dict(self.notes),
        }
