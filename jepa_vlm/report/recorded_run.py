"""The files of a run folder that its report reads, and the examples that are kept for it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from jepa_vlm.errors import DataError, RunError
from jepa_vlm.evaluation import Evaluation
from jepa_vlm.report.embedded_pictures import EmbeddedPicture, page_scale, picture, trajectory_pictures
from jepa_vlm.training.metrics import read_metrics
from jepa_vlm.training.run_config import CONFIG, RunConfig
from jepa_vlm.trajectories import MultipleChoice, Trajectory
from jepa_vlm.whole_files import write_whole

EXAMPLES = "examples.json"
Row = Mapping[str, Any]  # a row of metrics.jsonl, or another JSON object


@final
@dataclass(frozen=True)
class Setting:
    """A setting of a run and its provenance, which is "" for a value that nobody chose."""

    name: str
    value: object
    origin: str


@final
@dataclass(frozen=True)
class RecordedRun:
    """The content of a run folder. What is missing is None or empty.

    Args:
        path: The folder.
        settings: The values of config.json, nested names joined by dots.
        versions: Versions of the software.
        commit, command: Commit of the checkout and command line of the run, or None.
        metrics: Rows of metrics.jsonl.
        before, after: Evaluations before and after training.
        examples: Example items.
    """

    path: Path
    settings: tuple[Setting, ...]
    versions: Mapping[str, str]
    commit: str | None
    command: str | None
    metrics: tuple[Row, ...]
    before: Evaluation | None
    after: Evaluation | None
    examples: tuple[Example, ...]

    def setting(self, name: str) -> str | None:
        """Return the value of a setting as text, or None."""
        found = {setting.name: setting.value for setting in self.settings}.get(name)
        return None if found is None else str(found)


def read_run(path: Path) -> RecordedRun:
    """Read a run folder.

    Raises:
        RunError: If the folder does not exist or its config.json is broken.
        DataError: If an evaluation or the examples are broken.
    """
    if not path.is_dir():
        raise RunError(f"Run folder {path} does not exist; give the folder of a run.")
    before, after, examples = path / "evaluation_before.json", path / "evaluation.json", path / EXAMPLES
    metrics, config = path / "metrics.jsonl", dict(RunConfig.read(path).record) if (path / CONFIG).exists() else {}
    versions, commit, command = config.pop("versions", {}), config.pop("commit", None), config.pop("command", None)
    return RecordedRun(
        path=path,
        settings=tuple(_settings(config)),
        versions=versions,
        commit=commit,
        command=shlex.join(map(str, command)) if isinstance(command, list) else command or None,
        metrics=tuple(read_metrics(metrics)) if metrics.exists() else (),
        before=Evaluation.from_json(before) if before.exists() else None,
        after=Evaluation.from_json(after) if after.exists() else None,
        examples=tuple(read_examples(examples)) if examples.exists() else (),
    )


def series(rows: Sequence[Row], kind: str, *keys: str) -> tuple[list[float], list[float]]:
    """Return the steps and values of one quantity in the rows of a kind. Rows without it are skipped."""
    steps, values = [], []
    for row in rows:
        value: Any = row if row.get("kind") == kind else None
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, int | float):
            steps.append(float(row["step"]))
            values.append(float(value))
    return steps, values


def names(rows: Sequence[Row], *keys: str) -> list[str]:
    """Return the names under ``keys`` in all rows, in order of first appearance."""
    found: dict[str, None] = {}
    for row in rows:
        value: Any = row
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, Mapping):
            found.update(dict.fromkeys(value))
    return list(found)


def _settings(config: Row, prefix: str = "") -> Iterator[Setting]:
    for name, value in config.items():
        if isinstance(value, dict) and value.keys() == {"value", "origin"}:
            yield Setting(prefix + name, value["value"], str(value["origin"]))
        elif isinstance(value, dict):
            yield from _settings(value, f"{prefix}{name}.")
        else:
            yield Setting(prefix + name, value, "")


@final
@dataclass(frozen=True)
class Example:
    """One item as a report shows it.

    Args:
        id, task: Identifier and task of the item.
        prompt: The question with its options.
        truth: The right letter.
        pictures: The item's images, or all images of its expert trajectory with the boxes of the tool calls.
        steps: The expert's steps; empty without an expert trajectory.
    """

    id: str
    task: str
    prompt: str
    truth: str
    pictures: tuple[EmbeddedPicture, ...]
    steps: tuple[str, ...]


def save_examples(folder: Path, items: Sequence[MultipleChoice], trajectories: Sequence[Trajectory] = ()) -> None:
    """Write the examples of a run folder. The expert trajectory of an item has the item's id."""
    experts = {trajectory.id: trajectory for trajectory in trajectories}
    examples = [asdict(_example(item, experts.get(item.id))) for item in items]
    write_whole(folder / EXAMPLES, json.dumps(examples, indent=1, ensure_ascii=False) + "\n")


def read_examples(path: Path) -> list[Example]:
    """Return the examples of a run folder.

    Raises:
        DataError: If the file was not written by ``save_examples``.
    """
    try:
        held: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return [
            Example(
                **{
                    **one,
                    "pictures": tuple(EmbeddedPicture(**p) for p in one["pictures"]),
                    "steps": tuple(one["steps"]),
                }
            )
            for one in held
        ]
    except (ValueError, KeyError, TypeError) as err:
        raise DataError(f"{path} does not hold examples ({err!r}); delete it, or write it again.") from None


def _example(item: MultipleChoice, expert: Trajectory | None) -> Example:
    if expert is None:
        scale = page_scale(item.images)
        shown = [picture(image.load(), f"image {i}", scale=scale) for i, image in enumerate(item.images)]
    else:
        shown = trajectory_pictures(expert)
    return Example(
        id=item.id,
        task=item.task,
        prompt=item.prompt,
        truth=item.letters[item.answer],
        pictures=tuple(shown),
        steps=tuple(step.spoken for step in expert.steps) if expert is not None else (),
    )
