"""The figure of latent tokens: two histograms for each source, with the fixed numbers of inference as lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jepa_vlm.analysis.latent_counts import LatentCounts
from jepa_vlm.drawing import BLUE, drawing, short, svg_of

WIDE = 64  # more tokens than this: bins of an octave on a logarithmic axis
INK = "#b45309"


def latent_counts_figure(found: Mapping[str, LatentCounts]) -> str:
    """Return an SVG with a row for each source: latent tokens of a call, and of an example.

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
        # Right of the bar of as many tokens: what lies beyond has more.
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
    """Return the edges of bins that end between whole numbers: of one token each, or of an octave."""
    if most <= WIDE:
        return [tokens + 0.5 for tokens in range(most + 2)]
    octaves = range((most - 1).bit_length() + 1)
    return [0.5, *(2**octave + 0.5 for octave in octaves)]
