"""The folder of a run, its lock, and its result: what ``train`` returns and ``--json`` prints.

config.json              every value with its origin, versions, commit, command, trainable parts
metrics.jsonl            terms and monitors, step by step
checkpoints/             the last ones, to resume from
best/                    the adapter and heads with the lowest held-out loss
evaluation_before.json, evaluation.json     answers item by item
evaluation_other_entry.json                 where answers have latent slots: by the other way into them
export/                  the merged model, for stock transformers
report.html, result.json
.lock                    held by the process that works here
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

from filelock import FileLock, Timeout

from jepa_vlm.errors import RunError
from jepa_vlm.runs.settings import MAY_CHANGE, Resolved
from jepa_vlm.training.checkpoint import is_complete
from jepa_vlm.training.monitors import in_words
from jepa_vlm.training.run_config import CONFIG, RunConfig
from jepa_vlm.whole_files import write_whole

LOCK = ".lock"  # stays behind; what counts is who holds it


@final
class RunFolder:
    """Paths of a run's files.

    Args:
        path: The folder.
    """

    def __init__(self, *, path: Path) -> None:
        self.path = path
        self.config, self.metrics = path / CONFIG, path / "metrics.jsonl"
        self.checkpoints, self.best, self.export = path / "checkpoints", path / "best", path / "export"
        self.before, self.after = path / "evaluation_before.json", path / "evaluation.json"
        self.other_entry = path / "evaluation_other_entry.json"

    def check_free(self) -> None:
        """Refuse a folder that holds anything.

        Raises:
            RunError: If it does.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"Output {self.path} is a file, but a run needs a folder; give a new --output.")
        if self.path.is_dir() and holds_anything(self.path):
            if self.config.is_file():
                raise RunError(
                    f"Output folder {self.path} holds another run; give a new --output, or go on with it by --resume."
                )
            raise RunError(f"Output folder {self.path} exists and is not empty; give a new --output.")

    def check_exists(self) -> None:
        """Refuse to resume what was never begun.

        Raises:
            RunError: If the folder holds no run.
        """
        if not self.config.is_file():
            raise RunError(f"There is no run to resume in {self.path}; leave --resume out to start one.")

    def create(self, config: Mapping[str, Any]) -> None:
        """Make the folder and write its configuration.

        Raises:
            RunError: If it holds anything already.
        """
        self.check_free()
        write_whole(self.config, json.dumps(config, indent=1) + "\n")

    def check_same(self, values: Mapping[str, Resolved], objective: str, digests: Mapping[str, str]) -> None:
        """Hold a resumed run to the values, the objective and the data that it began with.

        Args:
            values: Resolved values of this command.
            objective: Printed; it shows the recipe's parameters where they take effect, left out or not.
            digests: Digest of each source of the data.

        Raises:
            RunError: If there is no run to resume, or something differs.
        """
        self.check_exists()
        try:
            held = RunConfig.read(self.path)
        except RunError as err:
            raise RunError(f"{err} To train from the start, give a new --output.") from None
        for name, old in held.values.items():
            if name not in values or name in MAY_CHANGE:
                continue
            if old != values[name].value:
                raise RunError(
                    f"The run in {self.path} has {name} = {old!r}, this command {values[name].value!r}; a resumed run "
                    "keeps its values. Repeat the command that started it, or give a new --output."
                )
        if held.record.get("objective") != objective:
            raise RunError(
                f"The run in {self.path} began with another objective than this command's; repeat the command that "
                "started it, its --set values included, or give a new --output."
            )
        old_digests = held.record.get("data_digests")
        if digests and old_digests is None:
            raise RunError(
                f"The run in {self.path} was begun by an earlier version, which recorded no digest of its data and "
                "held out other rows; it cannot be resumed. Give a new --output."
            )
        if changed := [name for name, digest in digests.items() if (old_digests or {}).get(name) != digest]:
            raise RunError(
                f"The data of the run in {self.path} changed since it began (source {', '.join(changed)}: rows, their "
                "order, texts or pictures); a resumed run keeps its data. Restore the files, or give a new --output."
            )

    def last_checkpoint(self) -> Path | None:
        """Return the newest complete checkpoint, or None."""
        found = [path for path in self.checkpoints.glob("checkpoint-*") if is_complete(path)]
        return max(found, key=lambda path: int(path.name.partition("-")[2]), default=None)


def free_folder(parent: Path, name: str) -> Path:
    """Return ``parent/name``, or with the first free number behind it."""
    path, number = parent / name, 1
    while path.exists() and (not path.is_dir() or holds_anything(path)):
        number += 1
        path = parent / f"{name}-{number}"
    return path


@contextmanager
def alone(folder: Path, what: str) -> Iterator[None]:
    """Keep other processes out of a folder, which is made if it is not there; one that is killed lets go of it.

    Args:
        folder: The folder to work in.
        what: What the folder holds, for the message.

    Raises:
        RunError: If another process works in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise RunError(
            f"Another process works on the {what} in {folder}; wait until it ends, or give a new --output."
        ) from None
    try:
        yield
    finally:
        lock.release()


def holds_anything(folder: Path) -> bool:
    """Say whether a folder holds more than a lock."""
    return any(path.name != LOCK for path in folder.iterdir())


FILE = "result.json"


@final
@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Args:
        run: Its folder.
        terms: For each term, the raw value on held-out trajectories before training (``first``), after the last step
            (``last``) and at the best checkpoint (``best``), there also times its weight (``weighted_best``).
        monitors: For each latent term, the values of its monitors, ``first`` and ``best``.
        findings: For each latent term, what the monitors show of the prediction, in words.
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
