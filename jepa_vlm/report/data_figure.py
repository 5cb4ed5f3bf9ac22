"""The figure of ``data stats``: lengths, calls, tools, box sizes, and visual tokens inside boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jepa_vlm.drawing import BLUE, drawing, short, svg_of

PANELS = (
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
        grid = figure.subplots(len(found), len(PANELS) + 2, squeeze=False)
        for axes, (name, counts) in zip(grid, found.items(), strict=True):
            for axis, (key, title, label) in zip(axes, PANELS, strict=False):
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
