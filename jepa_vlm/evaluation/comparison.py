"""Whether two evaluations of the same items differ by more than luck."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from jepa_vlm.errors import DataError
from jepa_vlm.evaluation.results import Evaluation, Scored
from jepa_vlm.evaluation.statistics import McNemar, mcnemar_exact


@final
@dataclass(frozen=True)
class Comparison:
    """Two evaluations, item by item.

    Args:
        scoring: The one compared.
        first, second: Accuracies.
        test: Exact McNemar test; its ``a`` is the first evaluation.
    """

    scoring: str
    first: float
    second: float
    test: McNemar


def compare(first: Evaluation, second: Evaluation, *, scoring: str | None = None) -> Comparison:
    """Compare two evaluations on the same items by the exact McNemar test.

    Args:
        first, second: What is compared.
        scoring: Which scoring; None takes the first evaluation's headline.

    Raises:
        DataError: If the items or the protocols differ, or a scoring is missing.
    """
    scoring = scoring or first.scorings[0]
    one, other = first[scoring], second[scoring]
    a, b = paired_marks(one, other)
    if one.protocol != other.protocol:
        raise DataError(f"The protocols differ: {one.protocol} and {other.protocol}; evaluate both under the same one.")
    return Comparison(scoring=scoring, first=sum(a) / len(a), second=sum(b) / len(b), test=mcnemar_exact(a, b))


def paired_marks(one: Scored, other: Scored) -> tuple[list[bool], list[bool]]:
    """Return whether each item was answered right, first by one, then by the other, in the first's order.

    Raises:
        DataError: If the items differ.
    """
    mine = {answer.id: answer for answer in one.answers}
    theirs = {answer.id: answer for answer in other.answers}
    if mine.keys() != theirs.keys():
        alone = sorted(mine.keys() ^ theirs.keys())
        raise DataError(
            f"Two evaluations can be compared on the same items only; {len(alone)} ids are in one of them alone, "
            f"such as {alone[0]!r}. Evaluate both with the same benchmark, count and seed."
        )
    changed = [id for id in mine if mine[id].truth != theirs[id].truth]
    if changed:
        raise DataError(f"Item {changed[0]!r} has two different right answers; the items are not the same ones.")
    return [mine[id].correct for id in mine], [theirs[id].correct for id in mine]
