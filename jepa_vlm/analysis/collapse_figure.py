"""The figure of collapse: spectrum and spread of both sides, a row for each model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jepa_vlm.analysis.collapse import Collapse
from jepa_vlm.drawing import CATEGORIES, drawing, short, svg_of

LOOKS = {"predicted": (CATEGORIES[5], "--"), "target": (CATEGORIES[0], "-")}
FLOOR = 1e-8  # of what is drawn, relative to the largest; below is rounding
ROWS = (
    ("effective rank", "effective_rank", ".1f"),
    ("RankMe", "rank_me", ".1f"),
    ("mean cosine", "mean_pairwise_cosine", "+.3f"),
    ("mean std", "std_mean", ".3g"),
    ("least std", "std_min", ".3g"),
)


def collapse_figure(found: Sequence[Collapse]) -> str:
    """Return an SVG.

    Args:
        found: One for each model, at least one.

    Raises:
        JepaVLMError: If matplotlib is not installed.
    """
    with drawing(10.4, 0.2 + 2.8 * len(found), "collapse", pad=0.1) as figure:
        grid = figure.subplots(len(found), 3, squeeze=False, sharey="col", width_ratios=(1, 1, 0.8))
        for (left, middle, right), one in zip(grid, found, strict=True):
            for name, side in one.sides.items():
                colour, line = LOOKS[name]
                look = {"color": colour, "linestyle": line, "label": name, "linewidth": 1.6}
                top = side.spectrum[0] or 1.0
                left.plot(range(1, len(side.spectrum) + 1), [max(v / top, FLOOR) for v in side.spectrum], **look)
                spread = sorted(side.dimension_std, reverse=True)
                middle.plot(range(1, len(spread) + 1), spread, **look)
            left.set_yscale("log")
            left.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            left.minorticks_off()
            left.set_title(f"{short(one.name)}: spectrum")
            left.set_xlabel("singular value")
            left.set_ylabel("relative to the largest")
            middle.set_title("standard deviation over examples")
            middle.set_xlabel("dimension, sorted")
            middle.legend(loc="best")
            for axes in (left, middle):
                axes.margins(x=0.03)
                axes.xaxis.get_major_locator().set_params(integer=True)
            _table(right, one)
        grid[0, 1].set_ylim(bottom=0)
        return svg_of(figure)


def _table(axes: Any, one: Collapse) -> None:
    """Write the single figures."""
    axes.set_axis_off()
    axes.set_title(f"{one.examples} examples of {one.dim} dimensions")
    places = {"predicted": 0.68, "target": 1.0}
    for name, side in one.sides.items():
        axes.text(places[name], 0.92, name, ha="right", color=LOOKS[name][0], transform=axes.transAxes)
        for row, (_, key, form) in enumerate(ROWS):
            axes.text(
                places[name], 0.78 - 0.14 * row, format(side.summary()[key], form), ha="right", transform=axes.transAxes
            )
    for row, (title, _, _) in enumerate(ROWS):
        axes.text(0.0, 0.78 - 0.14 * row, title, transform=axes.transAxes)
