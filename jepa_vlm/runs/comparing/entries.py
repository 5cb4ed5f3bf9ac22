"""The entries of a comparison, such as ``pearl:next_latent=0``, ``sft@lvr:meta.json``, ``old=runs/pearl``; its folder.

The folder holds:

settings.json       what may not change between two calls
facts/              by arm: resolved values, and what a trajectory costs
runs/ARM-SEED/      the runs, each a run folder like any other
answers/ARM-SEED/   by benchmark: every answer, and what answering took
logs/               the log of each process
comparison.json     everything found; .md, .tex, .csv and .html are drawn from it
.lock               held by the process that works here
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

from jepa_vlm.errors import RecipeError, RunError
from jepa_vlm.recipe.files import check_parameters, describe_recipe, list_recipes
from jepa_vlm.runs.folder import alone, holds_anything
from jepa_vlm.runs.settings import MAY_CHANGE
from jepa_vlm.training.run_config import CONFIG, RunConfig
from jepa_vlm.whole_files import write_whole

UNTRAINED = "untrained"
SYNTAX = "An entry is RECIPE, RECIPE:KEY=VALUE,..., RECIPE@DATA or the folder of a finished run, and NAME= before it."
_NAMED = re.compile(r"([A-Za-z0-9][\w .+-]*)=(.+)", re.DOTALL)


@final
@dataclass(frozen=True)
class Arm:
    """One row of a comparison.

    Args:
        name: Name in the tables.
        recipe: Name or file of the recipe.
        parameters: Parameters of the recipe.
        data: Spec of its training data; None for the default.
        entry: The entry that named it; arms of one entry differ in their data.
        runs: Finished runs that the user gave, by seed; empty for an arm that the comparison trains.
    """

    name: str
    recipe: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    data: str | None = None
    entry: str = ""
    runs: Mapping[int, Path] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        """The name as a folder's, told apart from other names that read alike as one."""
        plain = re.sub(r"[^\w.=+-]+", "-", self.name).strip("-.")[:80]
        return plain if plain == self.name else f"{plain}-{hashlib.sha256(self.name.encode()).hexdigest()[:6]}"


def read_arms(entries: Sequence[str], *, data: Sequence[str]) -> list[Arm]:
    """Return the arms of a comparison: every entry without data of its own once for each of ``data``.

    Finished runs of one recipe, or of one name, are the seeds of one arm.

    Raises:
        RecipeError: If an entry cannot be read, or two arms have one name.
        UnknownNameError: If there is no such recipe or parameter.
        RunError: If a folder is not a finished run, or two runs of an arm have one seed.
    """
    arms: list[Arm] = []
    for text in entries:
        one = _read(text)
        same = next((at for at, arm in enumerate(arms) if one.runs and arm.runs and arm.name == one.name), None)
        if same is not None:
            arms[same] = _joined(arms[same], one)
        elif one.runs or one.data or not data:
            arms.append(one)
        else:
            several = len(data) > 1
            arms += [replace(one, data=spec, name=f"{one.name} on {spec}" if several else one.name) for spec in data]
    if not arms:
        raise RecipeError(f"A comparison needs at least one entry. {SYNTAX}")
    names = [UNTRAINED, *(arm.name for arm in arms)]
    if twice := [name for name in names if names.count(name) > 1]:
        raise RecipeError(f"Two rows would be called {twice[0]!r}; give one of them a NAME= of its own.")
    return arms


def _read(text: str) -> Arm:
    named = _NAMED.fullmatch(text)
    name, body = (named[1], named[2]) if named is not None else ("", text)
    if (Path(body) / CONFIG).is_file() and body not in {file.name for file in list_recipes()}:
        return _finished(Path(body), name)
    left, _, data = body.partition("@")
    recipe, _, pairs = left.partition(":")
    parameters = {}
    for pair in filter(None, pairs.split(",")):
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise RecipeError(f"Entry {text!r}: parameters are KEY=VALUE,..., got {pair!r}. {SYNTAX}")
        parameters[key] = value
    file = describe_recipe(recipe)
    check_parameters(file, parameters)
    shown = Path(recipe).stem + left[len(recipe) :] + (f"@{data}" if data else "")
    return Arm(name or shown, recipe, parameters, data or None, entry=name or shown)


def _finished(folder: Path, name: str) -> Arm:
    config = RunConfig.read(folder)
    if not config.of_run:
        raise RunError(f"{folder} is no run but a model; give it as --backbone, and recipes or runs to compare.")
    if not (folder / "result.json").is_file():
        raise RunError(f"The run in {folder} has not ended; go on with it by --resume, then compare it.")
    values, parameters = config.values, {name: str(value) for name, value in config.parameters.items()}
    recipe, seed = values["recipe"], values["seed"]
    shown = Path(recipe).stem + (":" + ",".join(f"{k}={v}" for k, v in parameters.items()) if parameters else "")
    return Arm(name or shown, recipe, parameters, values["data"], entry=name or shown, runs={int(seed): folder})


def _joined(arm: Arm, more: Arm) -> Arm:
    (seed, folder), *_ = more.runs.items()
    if seed in arm.runs:
        raise RunError(
            f"{folder} and {arm.runs[seed]} would both be seed {seed} of {arm.name!r}; give one of them a NAME= of its "
            "own."
        )
    kept, added = (_values(one) for one in (next(iter(arm.runs.values())), folder))
    differ = [name for name in sorted(kept.keys() | added.keys()) if kept.get(name) != added.get(name)]
    if differ:
        raise RunError(
            f"{folder} differs from the other runs of {arm.name!r} in {', '.join(differ)}, not in its seed alone; give "
            "it a NAME= of its own."
        )
    return replace(arm, runs={**arm.runs, **more.runs})


def _values(folder: Path) -> dict[str, object]:
    """Return what seeds of one arm must share."""
    return {
        name: value
        for name, value in RunConfig.read(folder).values.items()
        if name != "seed" and name not in MAY_CHANGE
    }


FORMAT = "jepa-vlm-comparison-1"


@final
class CompareFolder:
    """Paths of a comparison's files.

    Args:
        path: The folder.
    """

    def __init__(self, *, path: Path) -> None:
        self.path, self.settings, self.record = path, path / "settings.json", path / "comparison.json"

    def facts(self, arm: Arm) -> Path:
        """Return the file of an arm's facts."""
        return self.path / "facts" / f"{arm.slug}.json"

    def run(self, arm: Arm, seed: int) -> Path:
        """Return the folder of a run: the user's own, or one of this folder."""
        return arm.runs[seed] if seed in arm.runs else self.path / "runs" / f"{arm.slug}-{seed}"

    def answers(self, arm: Arm | None, seed: int | None) -> Path:
        """Return the folder of a model's answers; without an arm, of the untrained backbone's."""
        return self.path / "answers" / (UNTRAINED if arm is None else f"{arm.slug}-{seed}")

    def log(self, name: str) -> Path:
        """Return the log file of a process."""
        return self.path / "logs" / f"{name}.log"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes out of the folder, which is made if it is not there.

        Raises:
            RunError: If another process works in it, or it holds something else than a comparison.
        """
        self._check_own()
        with alone(self.path, "comparison"):
            yield

    def hold(self, settings: Mapping[str, Any], arms: Mapping[str, Mapping[str, Any]]) -> None:
        """Write down what a comparison is, or hold this call to what is written.

        Args:
            settings: What holds for all arms.
            arms: By name, what decides the arm's runs. More arms may come, and fewer be asked for.

        Raises:
            RunError: If something differs, or the folder holds something else.
        """
        if not self.settings.is_file():
            self._check_own()
            self._write(settings, arms)
            return
        held = self._read()
        self._same(held["settings"], settings, "")
        for name in arms.keys() & held["arms"].keys():
            self._same(held["arms"][name], arms[name], f"{name}: ")
        self._write(settings, {**held["arms"], **arms})

    def _check_own(self) -> None:
        if self.settings.is_file() or not self.path.exists():
            return
        if not self.path.is_dir() or holds_anything(self.path):
            raise RunError(f"{self.path} holds something that is not a comparison; give a new --output.")

    def _same(self, old: Mapping[str, Any], new: Mapping[str, Any], whose: str) -> None:
        for key in sorted(old.keys() | new.keys(), key=lambda key: (key != "match", key)):  # what others follow from
            if old.get(key) != new.get(key):
                raise RunError(
                    f"The comparison in {self.path} has {whose}{key} = {old.get(key)!r}, this command "
                    f"{new.get(key)!r}; runs that are compared share their settings. Repeat the command that began it, "
                    "or give a new --output."
                )

    def _read(self) -> dict[str, Any]:
        try:
            held: dict[str, Any] = json.loads(self.settings.read_text(encoding="utf-8"))
            if held["format"] != FORMAT:
                raise KeyError("format")
        except (ValueError, KeyError) as err:
            raise RunError(f"{self.settings} is damaged ({err!r}); give a new --output.") from None
        return held

    def _write(self, settings: Mapping[str, Any], arms: Mapping[str, Any]) -> None:
        held = {"format": FORMAT, "settings": dict(settings), "arms": dict(arms)}
        write_whole(self.settings, json.dumps(held, indent=1) + "\n")
