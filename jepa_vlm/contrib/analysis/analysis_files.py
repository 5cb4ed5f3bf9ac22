"""Writes the files of an analysis: its numbers as JSON and CSV, and its figure."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jepa_vlm.evaluation import commit, versions
from jepa_vlm.whole_files import write_whole


def write_analysis(
    folder: Path,
    name: str,
    *,
    summary: Mapping[str, Any],
    table: Sequence[Mapping[str, Any]],
    figure: str,
    command: Sequence[str] = (),
) -> tuple[Path, ...]:
    """Write ``NAME.json``, ``NAME.csv`` and ``NAME.svg`` into a folder, each whole or not at all; return their paths.

    Args:
        folder: The folder; created if it does not exist.
        name: Name of the files.
        summary: JSON values; a number that is not finite becomes null.
        table: The data of the figure, row by row.
        figure: The figure as SVG.
        command: Command that made the analysis; the JSON stores it under ``made``, with versions and commit.
    """
    made = {"command": list(command), "versions": versions(), "commit": commit()}
    paths = tuple(folder / f"{name}.{kind}" for kind in ("json", "csv", "svg"))
    whole = json.dumps(finite({**summary, "made": made}), indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(paths[0], whole + "\n")
    write_table(paths[1], table)
    write_whole(paths[2], figure)
    return paths


def write_table(path: Path, table: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows with the same keys, at least one, as CSV; return the path."""
    held = io.StringIO()
    writer = csv.DictWriter(held, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    write_whole(path, held.getvalue())
    return path


def finite(value: Any) -> Any:
    """Return JSON values with None for every number that is not finite, since JSON has no such numbers."""
    if isinstance(value, Mapping):
        return {str(key): finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
