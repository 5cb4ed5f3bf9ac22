"""How many latent tokens a data set's boxes ask for, against the fixed numbers of inference (paper, Figure 2).

In LVR every visual token of a box is one latent slot of training, while inference takes a fixed number of latent steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from jepa_vlm.analysis.survey import RowFacts
from jepa_vlm.analysis.tally import spread
from jepa_vlm.errors import DataError

INFERENCE = (4, 8, 16)  # LVR's evaluation


@final
@dataclass(frozen=True)
class LatentCounts:
    """Latent tokens of a data set.

    Args:
        per_call: Calls, by the visual tokens that their box covers.
        per_example: Examples with such a call, by the visual tokens of all their boxes; one that lies in two boxes
            counts twice, as it fills two slots.
        inference: The fixed numbers of latent steps that they are held against.
        examples: Rows that were read.
        boxless: Examples among them without a box.
        unplaced: Boxes whose tokens cannot be counted, as their image's tokens do not lie as its pixels do.
        bad: Further rows that could not be read.
    """

    per_call: Mapping[int, int]
    per_example: Mapping[int, int]
    inference: tuple[int, ...]
    examples: int
    boxless: int
    unplaced: int
    bad: int

    @staticmethod
    def above(counts: Mapping[int, int], steps: int) -> float:
        """Return the share of ``per_call`` or ``per_example`` with more tokens than inference has steps."""
        return sum(number for tokens, number in counts.items() if tokens > steps) / sum(counts.values())

    def summary(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        counted = {"call": self.per_call, "example": self.per_example}
        return {
            "examples": self.examples,
            "boxless": self.boxless,
            "unplaced": self.unplaced,
            "bad": self.bad,
            **{
                f"per_{unit}": {
                    **spread(Counter(counts)),
                    "share_above": {str(steps): self.above(counts, steps) for steps in self.inference},
                }
                for unit, counts in counted.items()
            },
        }

    def table(self) -> list[dict[str, Any]]:
        """Return the histogram, a row for each number of tokens that occurs."""
        counted = {"call": self.per_call, "example": self.per_example}
        return [
            {"unit": unit, "latent_tokens": tokens, "count": number}
            for unit, counts in counted.items()
            for tokens, number in counts.items()
        ]


def latent_counts(facts: Iterable[RowFacts], *, inference: Sequence[int] = INFERENCE) -> LatentCounts:
    """Count the latent tokens of a data set, in bounded memory.

    Args:
        facts: Of its rows, from ``survey``.
        inference: Fixed numbers of latent steps to compare with.

    Raises:
        ValueError: If ``inference`` is empty, or holds a number below 1.
        DataError: If no box's tokens can be counted.
    """
    if not inference or min(inference) < 1:
        raise ValueError(f"inference must hold numbers of latent steps of at least 1, got {tuple(inference)}.")
    calls: Counter[int] = Counter()
    examples: Counter[int] = Counter()
    good = boxless = unplaced = bad = 0
    for one in facts:
        if one.problem:
            bad += 1
            continue
        good += 1
        boxless += not one.boxes
        unplaced += len(one.boxes) - len(one.latents)
        calls.update(one.latents)
        if one.latents:
            examples[sum(one.latents)] += 1
    if not calls:
        raise DataError(
            f"None of {good} examples has a box whose visual tokens can be counted ({boxless} have no box, {unplaced} "
            f"boxes lie on images without a grid of tokens, {bad} rows are bad); latent tokens are counted in boxes."
        )
    return LatentCounts(
        per_call=dict(sorted(calls.items())),
        per_example=dict(sorted(examples.items())),
        inference=tuple(sorted(set(inference))),
        examples=good,
        boxless=boxless,
        unplaced=unplaced,
        bad=bad,
    )
