"""Counts the latent tokens of a data set's boxes, beside the fixed numbers of inference (Figure 2 of the paper).

In LVR every visual token of a box is one latent token in training; inference takes a fixed number of latent steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from jepa_vlm.errors import DataError
from jepa_vlm.report.figures import BLUE, drawing, short, svg_of
from jepa_vlm.runs.survey import RowFacts, spread

INFERENCE = (4, 8, 16)  # LVR's evaluation


@final
@dataclass(frozen=True)
class LatentCounts:
    """Latent tokens of a data set.

    Args:
        per_call: Number of calls by the number of visual tokens in their box.
        per_example: Number of examples with a box by the number of visual tokens in all their boxes; a token in two
            boxes counts twice, since it fills two latent tokens.
        inference: Fixed numbers of latent steps to compare with.
        examples: Number of good rows.
        boxless: Number of examples without a box.
        unplaced: Number of boxes whose tokens cannot be counted, because the image's tokens form no grid.
        bad: Number of rows that could not be read.
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
        facts: Facts about its rows, from ``runs.survey.survey``.
        inference: Fixed numbers of latent steps to compare with.

    Raises:
        ValueError: If ``inference`` is empty, or holds a number below 1.
        DataError: If the tokens of no box can be counted.
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


WIDE = 64  # above this number of tokens, bins span an octave on a logarithmic axis
INK = "#b45309"


def latent_counts_figure(found: Mapping[str, LatentCounts]) -> str:
    """Return the figure as SVG, with a row for each source: latent tokens per call, and per example.

    Raises:
        JepaVLMError: If matplotlib is not installed.
    """
    with drawing(9.6, 0.4 + 2.9 * len(found), "latent-counts", pad=0.1) as figure:
        grid = figure.subplots(len(found), 2, squeeze=False)
        for axes, (name, counts) in zip(grid, found.items(), strict=True):
            for axis, unit, histogram in zip(
                axes, ("call", "example"), (counts.per_call, counts.per_example), strict=True
            ):
                _draw(axis, histogram, counts)
                above = ", ".join(f"{steps}: {counts.above(histogram, steps):.0%}" for steps in counts.inference)
                axis.set_title(f"{short(name)}: {sum(histogram.values()):,} {unit}s\nmore than {above}", pad=15)
                axis.set_xlabel(f"latent tokens of one {unit}")
            axes[0].set_ylabel("share")
        return svg_of(figure)


def _draw(axis: Any, histogram: Mapping[int, int], counts: LatentCounts) -> None:
    most = max(*histogram, *counts.inference)
    edges = _edges(most)
    total = sum(histogram.values())
    axis.hist(
        list(histogram), edges, weights=[number / total for number in histogram.values()], color=BLUE, edgecolor="white"
    )
    if most > WIDE:
        axis.set_xscale("log", base=2)
        ticks = [4**power for power in range(10) if 4**power <= edges[-1]]
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.minorticks_off()
    else:
        axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlim(edges[0], edges[-1])
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.set_axisbelow(True)
    for steps in counts.inference:
        # The line lies right of the bar with as many tokens; the bars beyond it have more.
        axis.axvline(steps + 0.5, color=INK, linestyle="--", linewidth=1.2)
        axis.annotate(
            f"{steps}",
            (steps + 0.5, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            fontsize=8,
            color=INK,
            ha="center",
        )


def _edges(most: int) -> list[float]:
    """Return the edges of bins of one token, or of an octave; all edges lie between whole numbers."""
    if most <= WIDE:
        return [tokens + 0.5 for tokens in range(most + 2)]
    octaves = range((most - 1).bit_length() + 1)
    return [0.5, *(2**octave + 0.5 for octave in octaves)]
