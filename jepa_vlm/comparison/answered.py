"""The answers of one model to every benchmark of a comparison, and whether all models answered the same items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from jepa_vlm.errors import DataError
from jepa_vlm.evaluation import Evaluation, Scored


@final
@dataclass(frozen=True)
class Answered:
    """One checkpoint.

    Args:
        arm: What it is one of.
        seed: It was trained with; None for a model that no seed of the comparison decides.
        evaluations: By benchmark; the headline of each counts.
    """

    arm: str
    seed: int | None
    evaluations: Mapping[str, Evaluation]

    def scored(self, benchmark: str) -> Scored:
        """Return the headline of a benchmark."""
        return self.evaluations[benchmark].scored[0]

    def marks(self, benchmark: str, task: str | None = None) -> list[bool]:
        """Return whether each item was right, of one task or of all, in the items' order."""
        return [one.correct for one in self.scored(benchmark).answers if task is None or one.task == task]


def check_same_items(models: Sequence[Answered]) -> None:
    """Refuse models that did not answer the same items in the same order.

    Their protocols may differ: each answers in its own way.

    Raises:
        DataError: If they did not, or there is no model.
    """
    if not models:
        raise DataError("A comparison needs at least one model's answers, got none.")
    first = models[0]
    for other in models[1:]:
        if other.evaluations.keys() != first.evaluations.keys():
            raise DataError(
                f"All models must answer the same benchmarks; {first.arm} answered {', '.join(first.evaluations)}, "
                f"{other.arm} {', '.join(other.evaluations)}."
            )
        for benchmark in first.evaluations:
            asked = [[(a.id, a.truth, a.task) for a in one.scored(benchmark).answers] for one in (first, other)]
            if asked[0] != asked[1]:
                raise DataError(
                    f"All models must answer the same items; on {benchmark}, those of {first.arm} and {other.arm} are "
                    "not the same. Evaluate both again with the same count and seed."
                )
