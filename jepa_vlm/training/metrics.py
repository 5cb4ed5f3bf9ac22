"""metrics.jsonl: one JSON object per line, appended as a run goes, readable without this package.

Rows of training, every few steps, averaged since the last one:
    {"kind": "train", "step", "passes", "loss", "learning_rate", "grad_norm", "seconds",
     "terms": {term: {"raw", "weighted"}},
     "sources": {name: {"terms": {term: {"raw", "weighted", "count"}}}}}, the last of a mixture alone
Rows of validation, on held-out trajectories, exact sums over all of them:
    {"kind": "validation", "step", "passes", "loss",
     "terms": {term: {"raw", "weighted", "count"}}, "monitors": {term: {name: value}},
     "sources": {name: {"loss", "terms"}}}, the last of a mixture alone
A term with several parts, such as one for each expert, has them too: ``"parts": {part: value}`` sum to its raw value.
``loss`` is the sum of the weighted terms; ``passes`` counts how often the training set has been seen; ``seconds`` is
the time spent training so far. A run that is resumed repeats no step: later rows are cut off.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from jepa_vlm.whole_files import write_whole


@final
class MetricsFile:
    """Appends rows to a run's metrics.jsonl; does nothing on ranks that must not write.

    Args:
        path: The file.
        write: Whether this process writes.
    """

    def __init__(self, *, path: Path, write: bool = True) -> None:
        self.path, self._write = path, write

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row and flush it, so that a killed run keeps it."""
        if not self._write:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def cut_after(self, step: int) -> None:
        """Drop the rows of later steps: a run resumed from a checkpoint writes them again."""
        if not self._write or not self.path.exists():
            return
        kept = [row for row in read_metrics(self.path) if row["step"] <= step]
        write_whole(self.path, "".join(json.dumps(row) + "\n" for row in kept))  # a run killed here keeps its rows

    def seconds(self) -> float:
        """Return the time spent training at the last row that knows it, 0 before the first."""
        rows = read_metrics(self.path) if self.path.exists() else []
        return float(next((row["seconds"] for row in reversed(rows) if "seconds" in row), 0.0))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a metrics.jsonl, in order; a line cut short by a killed run is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows
