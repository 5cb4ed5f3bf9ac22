"""The losses of a mixture, told by source."""

from __future__ import annotations

from typing import Any

from jepa_vlm.report.figures import Curve, Panel, panels_svg
from jepa_vlm.report.recorded_run import RecordedRun, names, series

COLOURS = ("#2563eb", "#d97706", "#15803d", "#b91c1c", "#6d28d9", "#8b95a5")
KINDS = {"train": "training", "validation": "held-out"}


def source_losses(run: RecordedRun) -> dict[str, Any]:
    """Return ``svg``, a panel for each term and kind with a curve for each source, and ``rows``: term, source, and
    the first and last raw value in training and held out (None where not measured). Both are empty without a mixture.
    """
    sources, panels, rows = names(run.metrics, "sources"), [], []
    terms = dict.fromkeys(term for source in sources for term in names(run.metrics, "sources", source, "terms"))
    for term in terms:
        found = {
            (source, kind): series(run.metrics, kind, "sources", source, "terms", term, "raw")
            for source in sources
            for kind in KINDS
        }
        for kind, word in KINDS.items():
            curves = [
                Curve(source, *found[source, kind], COLOURS[number % len(COLOURS)], marked=kind == "validation")
                for number, source in enumerate(sources)
                if found[source, kind][0]
            ]
            panels += [Panel(f"{term}, {word}", curves)] if curves else []
        for source in sources:
            rows.append((term, source, tuple(end for kind in KINDS for end in _ends(found[source, kind][1]))))
    return {"svg": panels_svg(panels, name="sources") if panels else None, "rows": rows}


def _ends(values: list[float]) -> tuple[float | None, float | None]:
    return (values[0], values[-1]) if values else (None, None)
