"""Figures of the pages: inline SVG, drawn by matplotlib without its global state."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from jepa_vlm.errors import missing_extra
from jepa_vlm.evaluation import Accuracy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GREY, BLUE, ORANGE = "#8b95a5", "#2563eb", "#d97706"
# The colours of Okabe and Ito, safe for colour-blind readers, without the yellow, which is too light on white.
CATEGORIES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000")
STYLE: Any = {  # Any: matplotlib types every key
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "text.parse_math": False,
    "axes.edgecolor": "#9aa3b2",
    "axes.labelcolor": "#4b5563",
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e7eb",
    "xtick.color": "#4b5563",
    "ytick.color": "#4b5563",
    "text.color": "#111827",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "white",
    "svg.fonttype": "path",
}


@contextmanager
def drawing(width: float, height: float, name: str, *, pad: float = 3 / 72) -> Iterator[Figure]:
    """Yield an empty figure in the style of the pages.

    Args:
        width, height: Size in inches.
        name: Makes the identifiers of the figure unique on its page.
        pad: Padding around the parts in inches.

    Raises:
        JepaVLMError: If matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError:
        raise missing_extra("matplotlib", "report", "A figure") from None
    style: Any = {**STYLE, "svg.hashsalt": name}
    with matplotlib.rc_context(style):
        yield Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=pad, h_pad=pad))


def svg_of(figure: Figure) -> str:
    """Return a figure as SVG, with the same bytes every time."""
    held = io.StringIO()
    figure.savefig(held, format="svg", metadata={"Date": None, "Creator": None})
    drawn = held.getvalue()
    return drawn[drawn.index("<svg") :]


def short(title: str) -> str:
    """Return the title, cut to fit a panel."""
    return title if len(title) <= 40 else title[:39] + "…"


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


DATA_PANELS = (  # key of the counts, title, and label of the axis
    ("calls", "Calls per trajectory", "calls"),
    ("images", "Images per trajectory", "images"),
    ("box_percent", "Box size", "% of its image"),
    ("box_tokens", "Visual tokens in a box", "tokens"),
)


def data_figure(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return an SVG with a row of panels for each source.

    Args:
        found: Counts by source, as ``runs.survey.Tally.summary`` returns them.

    Raises:
        JepaVLMError: If matplotlib is not installed.
    """
    with drawing(15.0, 2.6 * len(found), "data") as figure:
        grid = figure.subplots(len(found), len(DATA_PANELS) + 2, squeeze=False)
        for axes, (name, counts) in zip(grid, found.items(), strict=True):
            for axis, (key, title, label) in zip(axes, DATA_PANELS, strict=False):
                values = {int(value): count for value, count in counts[key].items()}
                axis.bar(list(values), list(values.values()), color=BLUE, width=1.0 if len(values) > 12 else 0.8)
                axis.set_xlim(-0.5, 100.5 if key == "box_percent" else max(values, default=0) + 1.5)
                axis.xaxis.get_major_locator().set_params(integer=True)
                axis.set_title(title)
                axis.set_xlabel(label)
            axes[0].set_ylabel(short(f"{name}: rows"))
            _bars(axes[-2], "Calls by tool", {tool: (count,) for tool, count in counts["tools"].items()})
            views = {view: kinds["total"] for view, kinds in counts["tokens"].items()}
            tokens = {view: (one["p95"], one["median"]) for view, one in views.items()}
            _bars(axes[-1], "Tokens by view", tokens)
            axes[-1].set_xlabel("median; pale: 95th percentile")
        return svg_of(figure)


def _bars(axis: Any, title: str, values: Mapping[str, Sequence[float]]) -> None:
    """Draw a bar for each name; its second value lies in front of its first."""
    for place, colour in enumerate(("#93c5fd", BLUE)):
        heights = [own[place] if place < len(own) else 0 for own in values.values()]
        axis.barh(range(len(values)), heights, color=colour)
    axis.set_yticks(range(len(values)), [short(name) for name in values])
    axis.set_title(title)
