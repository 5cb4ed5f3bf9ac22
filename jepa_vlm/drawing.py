"""How figures look: inline SVG, drawn by matplotlib without its global state."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jepa_vlm.errors import missing_extra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GREY, BLUE, ORANGE = "#8b95a5", "#2563eb", "#d97706"
# Okabe and Ito's colours, told apart by the colour-blind; without their yellow, which is lost on white.
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
    """Give a figure in the pages' style, in inches, with so much room around its parts.

    ``name`` keeps the identifiers of several on a page apart.

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
    """Return a figure as SVG, the same bytes every time."""
    held = io.StringIO()
    figure.savefig(held, format="svg", metadata={"Date": None, "Creator": None})
    drawn = held.getvalue()
    return drawn[drawn.index("<svg") :]


def short(title: str) -> str:
    """Return a title that fits a panel."""
    return title if len(title) <= 40 else title[:39] + "…"
