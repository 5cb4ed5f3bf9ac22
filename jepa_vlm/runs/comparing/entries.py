"""What a user names to be compared: ``pearl``, ``pearl:next_latent=0``, ``sft@lvr:meta.json``, ``old=runs/pearl``."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import final

from jepa_vlm.errors import RecipeError, RunError
from jepa_vlm.recipe.files import check_parameters, describe_recipe, list_recipes
from jepa_vlm.runs.settings import MAY_CHANGE
from jepa_vlm.training.run_config import CONFIG, RunConfig

UNTRAINED = "untrained"
SYNTAX = "An entry is RECIPE, RECIPE:KEY=VALUE,..., RECIPE@DATA or the folder of a finished run, and NAME= before it."
_NAMED = re.compile(r"([A-Za-z0-9][\w .+-]*)=(.+)", re.DOTALL)


@final
@dataclass(frozen=True)
class Arm:
    """One row of a comparison.

    Args:
        name: In the tables.
        recipe: Name or file of the recipe.
        parameters: Of the recipe.
        data: What it trains on; None for the default.
        entry: What it was named by; arms of one entry differ in their data.
        runs: By seed, finished runs that the user gave; empty for an arm that the comparison trains.
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
