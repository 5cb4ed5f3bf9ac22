"""Figures of a run: curves over steps, and accuracies with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from jepa_vlm.drawing import BLUE, GREY, ORANGE, drawing, short, svg_of
from jepa_vlm.evaluation import Accuracy


@final
@dataclass(frozen=True)
class Curve:
    """One line of a panel.

    Args:
        label: Text in the legend.
        steps, values: Coordinates of the points.
        colour: Colour of the line.
        marked: Whether each point has a mark.
    """

    label: str
    steps: Sequence[float]
    values: Sequence[float]
    colour: str
    marked: bool = False


@final
@dataclass(frozen=True)
class Panel:
    """One small chart over training steps."""

    title: str
    curves: Sequence[Curve]


def panels_svg(panels: Sequence[Panel], *, name: str) -> str:
    """Return the panels in rows of three as one SVG. ``name`` makes the identifiers of a figure unique on its page.

    Raises:
        JepaVLMError: If matplotlib is not installed.
    """
    columns = 2 if len(panels) in (1, 2, 4) else 3
    rows = math.ceil(len(panels) / columns)
    with drawing(10.4, 2.6 * rows, name) as figure:
        grid = figure.subplots(rows, columns, squeeze=False)
        for place, axes in enumerate(grid.flat):
            if place >= len(panels):
                axes.set_axis_off()
                continue
            for curve in panels[place].curves:
                marker = "o" if curve.marked else ""
                axes.plot(
                    curve.steps,
                    curve.values,
                    label=curve.label,
                    color=curve.colour,
                    linewidth=1.4,
                    marker=marker,
                    markersize=3.5,
                )
            axes.set_title(short(panels[place].title))
            axes.set_xlabel("step")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.margins(x=0.03)
            axes.legend(loc="best")
        return svg_of(figure)


def accuracy_svg(rows: Sequence[tuple[str, Accuracy | None, Accuracy | None]], *, name: str) -> str:
    """Return a figure of accuracies with intervals, before (grey) and after (blue), and of chance, one row per label.

    Raises:
        JepaVLMError: If matplotlib is not installed.
    """
    with drawing(8.4, 0.9 + 0.45 * len(rows), name) as figure:
        axes = figure.subplots()
        for place, (_, before, after) in enumerate(rows):
            for accuracy, shift, colour in ((before, -0.14, GREY), (after, 0.14, BLUE)):
                if accuracy is not None:
                    x, spread = accuracy.value, [[accuracy.value - accuracy.low], [accuracy.high - accuracy.value]]
                    axes.errorbar(x, place + shift, xerr=spread, fmt="o", color=colour, capsize=3, markersize=5)
            known = after or before
            if known is not None:
                axes.plot([known.chance] * 2, [place - 0.38, place + 0.38], color=ORANGE, linestyle=":", linewidth=1.6)
        axes.set_yticks(range(len(rows)), [short(label) for label, _, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
        axes.grid(visible=False, axis="y")
        for label, colour in (("before", GREY), ("after", BLUE)):
            axes.plot([], [], label=label, color=colour, marker="o")
        axes.plot([], [], color=ORANGE, linestyle=":", label="chance")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return svg_of(figure)
