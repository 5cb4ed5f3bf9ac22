"""The policy for rows that cannot be used, and their counts by kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict, final

from jepa_vlm.errors import BackboneError, DataError, UnknownNameError

POLICIES = ("refuse", "skip", "clamp")
OPTIONS = ("bad", "max_bad")
SHOWN, LONGEST = 5, 300  # messages kept of each kind, and characters of one that a list shows
WAYS = (
    "To go on without such rows, put #bad=skip behind the data (they are counted), or #bad=clamp, which first cuts "
    "boxes to their image and widens thin crops."
)


@final
@dataclass(frozen=True)
class BadRows:
    """The policy of a source for rows that cannot be used.

    Args:
        policy: ``refuse`` stops at the first such row. ``skip`` leaves such rows out. ``clamp`` repairs a row if it can
            (boxes are cut to their image, thin crops widened), else leaves it out.
        most: The largest share of the rows that may be left out.
    """

    policy: str = "refuse"
    most: float = 0.02

    @classmethod
    def of(cls, options: Mapping[str, str]) -> BadRows:
        """Return the policy that the options ``bad`` and ``max_bad`` of a data spec set.

        Raises:
            UnknownNameError: If there is no such policy.
            DataError: If the share is not a number from 0 to 1, or is set with the policy ``refuse``.
        """
        policy, most = options.get("bad", cls.policy), options.get("max_bad", str(cls.most))
        if policy not in POLICIES:
            raise UnknownNameError("policy for bad rows", policy, known=POLICIES)
        try:
            share = float(most)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            raise DataError(f"max_bad must be a share from 0 to 1, such as max_bad=0.05, got {most!r}.")
        if policy == "refuse" and "max_bad" in options:
            raise DataError("max_bad is the share of rows that may be left out; say #bad=skip or #bad=clamp with it.")
        return cls(policy, share)

    def without_limit(self) -> BadRows:
        """Return the policy that leaves out every bad row, however many, and repairs as this one does."""
        return BadRows(self.policy if self.policy == "clamp" else "skip", 1.0)

    def allows(self, bad: int, rows: int) -> bool:
        """Return whether ``bad`` of ``rows`` rows may be left out."""
        return bad == 0 or (self.policy != "refuse" and bad < rows and bad / rows <= self.most)


class ProblemCount(TypedDict):
    """How many rows have a kind of problem, and the messages of the first ones."""

    count: int
    first: list[str]


@final
class Problems:
    """Problems by kind: their number, and the first messages of each."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first: dict[str, list[str]] = {}

    def add(self, kind: str, message: str) -> None:
        """Count a problem."""
        self.counts[kind] += 1
        named = self.first.setdefault(kind, [])
        if len(named) < SHOWN:
            named.append(message)

    def summary(self) -> dict[str, ProblemCount]:
        """Return count and first messages by kind, the most frequent kind first."""
        return {kind: {"count": count, "first": self.first[kind]} for kind, count in self.counts.most_common()}


def problem_lines(found: Mapping[str, ProblemCount]) -> list[str]:
    """Return a summary of problems as lines, long messages cut short."""
    lines = []
    for kind, one in found.items():
        lines.append(f"  {one['count']} x {kind}")
        lines += [
            f"    {message if len(message) <= LONGEST else message[:LONGEST] + '...'}" for message in one["first"]
        ]
    return lines


def problem_of(err: DataError | BackboneError, place: str) -> tuple[str, str]:
    """Return the kind of problem of an error about a row, and its message, which begins with the row's place."""
    kind, message = err.problem if isinstance(err, DataError) else "chat template", str(err)
    return kind, message if message.startswith(place) else f"{place}: {message}"
