"""The figure of a comparison: every arm's accuracy on every benchmark, with its interval and its seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from jepa_vlm.drawing import BLUE, GREY, ORANGE, drawing, short, svg_of
from jepa_vlm.report.comparison_tables import ALL, column_title

COLUMNS = 3


def accuracies_svg(record: Mapping[str, Any], *, name: str) -> str:
    """Return one panel for each benchmark: the mean with its interval, each seed as a small dot, chance as a line.

    Raises:
        JepaVLMError: If matplotlib is not installed.
    """
    columns, arms = record["columns"], [arm["name"] for arm in record["arms"]]
    across = min(COLUMNS, len(columns))
    down = math.ceil(len(columns) / across)
    with drawing(10.4, down * (0.9 + 0.34 * len(arms)), name) as figure:
        grid = figure.subplots(down, across, squeeze=False, sharey=True)
        for place, axes in enumerate(grid.flat):
            if place >= len(columns):
                axes.set_axis_off()
                continue
            column = columns[place]
            found = record["accuracy"][column["benchmark"]][ALL]
            for row, arm in enumerate(arms):
                one = found[arm]
                error = [[one["mean"] - one["low"]], [one["high"] - one["mean"]]]
                colour = BLUE if one["best"] else GREY
                axes.errorbar(one["mean"], row, xerr=error, fmt="o", color=colour, capsize=3, markersize=5)
                seeds = [
                    run["accuracy"][column["benchmark"]][ALL]["value"] for run in record["runs"] if run["arm"] == arm
                ]
                if len(seeds) > 1:
                    axes.plot(seeds, [row + 0.22] * len(seeds), "|", color=colour, markersize=7)
            axes.axvline(column["chance"], color=ORANGE, linestyle=":", linewidth=1.4)
            axes.set_title(short(column_title(column)))
            axes.set_yticks(range(len(arms)), [short(arm) for arm in arms])
            axes.set_ylim(len(arms) - 0.5, -0.5)
            axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
            axes.grid(visible=False, axis="y")
        return svg_of(figure)
