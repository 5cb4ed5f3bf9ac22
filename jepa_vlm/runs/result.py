"""What a run returns, and the one object that ``--json`` prints."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

from jepa_vlm.errors import RunError
from jepa_vlm.training.monitors import in_words
from jepa_vlm.whole_files import write_whole

FILE = "result.json"


@final
@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Args:
        run: Its folder.
        terms: By term: the raw value on held-out trajectories before training (``first``), after the last step
            (``last``) and at the best checkpoint (``best``), there also times its weight (``weighted_best``).
        monitors: By latent term: what the monitors showed, ``first`` and ``best``.
        findings: By latent term: what the monitors show of the prediction, in words.
        accuracy: ``before`` and ``after``: by scoring, the overall accuracy and each task's, with n and interval; empty
            if the data has no questions. With latent slots also ``other_entry``: as after, by the other way
            into the latent path, forced or decided by the model.
        best_step: The step of the best checkpoint, which was evaluated and exported.
        export: The merged model's folder.
        report: The HTML report, or None if its packages are not installed.
        seconds: Wall time of training alone.
        measured: The ``machine``, and the ``peak_memory`` in bytes of what ``memory`` names: the GPU's ``allocator``
            while training, or the ``process`` from its start to the end of training.
    """

    run: str
    terms: Mapping[str, Mapping[str, float]]
    monitors: Mapping[str, Mapping[str, Mapping[str, float]]]
    accuracy: Mapping[str, Any]
    best_step: int
    export: str
    report: str | None
    seconds: float
    measured: Mapping[str, Any] = field(default_factory=dict)
    findings: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return one JSON object."""
        return json.dumps(asdict(self), indent=1)

    def write(self, folder: Path) -> None:
        """Write result.json, whole or not at all: a run that has one has ended."""
        write_whole(folder / FILE, self.to_json() + "\n")

    @classmethod
    def read(cls, folder: Path) -> RunResult:
        """Read result.json."""
        return cls(**json.loads((folder / FILE).read_text(encoding="utf-8")))


def held_out_terms(rows: Sequence[Mapping[str, Any]], best: int) -> dict[str, dict[str, float]]:
    """Return each term's held-out values from the rows of metrics.jsonl."""
    first, at_best, last = _three(rows, best)
    return {
        name: {
            "first": first["terms"][name]["raw"],
            "best": at_best["terms"][name]["raw"],
            "last": last["terms"][name]["raw"],
            "weighted_best": at_best["terms"][name]["weighted"],
        }
        for name in first["terms"]
    }


def held_out_monitors(rows: Sequence[Mapping[str, Any]], best: int) -> dict[str, dict[str, Any]]:
    """Return each latent term's monitors from the rows of metrics.jsonl."""
    first, at_best, _ = _three(rows, best)
    return {name: {"first": first["monitors"][name], "best": at_best["monitors"][name]} for name in first["monitors"]}


def held_out_findings(monitors: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, str]:
    """Return what ``held_out_monitors`` show, in words."""
    said = {name: in_words(found["first"], found["best"]) for name, found in monitors.items()}
    return {name: words for name, words in said.items() if words}


def _three(rows: Sequence[Mapping[str, Any]], best: int) -> tuple[Mapping[str, Any], ...]:
    held = {row["step"]: row for row in rows if row["kind"] == "validation"}
    if not {0, best} <= held.keys():
        raise RunError(f"metrics.jsonl lacks the validation of step 0 or {best}; the run is damaged, begin a new one.")
    return held[0], held[best], held[max(held)]
