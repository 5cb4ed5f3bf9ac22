"""One figure of a data set: lengths, calls, tools, box sizes, and the latent tokens that boxes hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jepa_vlm.report.figures import BLUE, drawing, short, svg_of

PANELS = (
    ("calls", "Calls per trajectory", "calls"),
    ("images", "Images per trajectory", "images"),
    ("tools", "Calls by tool", ""),
    ("box_percent", "Box size", "% of its image"),
)


def data_figure(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return an SVG with a row of panels for each source.

    Args:
        found: Counts by source, as ``runs.tally`` sums them up.

    Raises:
        JepaVLMError: If matplotlib is not installed.
    """
    with drawing(13.0, 2.6 * len(found), "data") as figure:
        grid = figure.subplots(len(found), len(PANELS) + 1, squeeze=False)
        for axes, (name, counts) in zip(grid, found.items(), strict=True):
            for axis, (key, title, label) in zip(axes, PANELS, strict=False):
                values = counts[key]
                axis.bar(
                    range(len(values)) if key == "tools" else [int(k) for k in values], values.values(), color=BLUE
                )
                if key == "tools":
                    axis.set_xticks(range(len(values)), [short(name) for name in values])
                axis.set_title(title)
                axis.set_xlabel(label)
            axes[0].set_ylabel(short(f"{name}: rows"))
            _lengths(axes[-1], counts)
        return svg_of(figure)


def _lengths(axis: Any, counts: Mapping[str, Any]) -> None:
    """Draw median and 95th percentile of each view's tokens, and of the tokens inside boxes."""
    bars = {view: kinds["total"] for view, kinds in counts["tokens"].items()}
    bars |= {"in a box": counts["box_tokens"]} if counts["box_tokens"]["count"] else {}
    places = range(len(bars))
    axis.barh(places, [one["p95"] for one in bars.values()], color="#bfdbfe", label="95th percentile")
    axis.barh(places, [one["median"] for one in bars.values()], color=BLUE, label="median")
    axis.set_yticks(places, list(bars))
    axis.set_title("Tokens")
    if bars:
        axis.legend()
