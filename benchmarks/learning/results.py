"""All runs put together: accuracy, differences to the base and between arms, controls."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from benchmarks.learning.arms import ARMS, Cell, described
from benchmarks.learning.run import BLANKS, IMAGES, LATENTS, RUN
from jepa_vlm.comparison import Spread, over_items
from jepa_vlm.evaluation import Evaluation, commit, compare, versions
from jepa_vlm.playground import DIRECT_SHARE
from jepa_vlm.runs import RunResult
from jepa_vlm.runs.folder import RunFolder

ALL = "all"


def gather(cells: Sequence[Cell], *, command: Sequence[str]) -> dict[str, Any]:
    """Return everything that the finished cells say, as JSON values.

    Args:
        cells: All of one setting.
        command: That did them.
    """
    asked = {cell: Evaluation.from_json(cell.answers / IMAGES) for cell in cells}
    blanks = {cell: Evaluation.from_json(cell.answers / BLANKS) for cell in cells}
    base = {cell.regime: cell for cell in cells if cell.arm is None}
    regimes, arms = list(base), list(dict.fromkeys(cell.arm for cell in cells if cell.arm is not None))
    trained = sorted(
        (cell for cell in cells if cell.arm is not None),
        key=lambda cell: (regimes.index(cell.regime), arms.index(str(cell.arm)), cell.seed),
    )
    return {
        "command": list(command),
        "setting": described(cells[0].setting),
        "direct_share": DIRECT_SHARE,
        "regimes": regimes,
        "arms": arms,
        "seeds": list(dict.fromkeys(cell.seed for cell in trained)),
        "recipes": {arm: asdict(ARMS[arm]) for arm in arms},
        "versions": versions(),
        "commit": commit(),
        "base": {
            regime: {"images": _accuracies(asked[cell]), "blanks": _accuracies(blanks[cell])}
            for regime, cell in base.items()
        },
        "summary": {
            regime: _regime(asked[base[regime]], {cell: asked[cell] for cell in trained if cell.regime == regime})
            for regime in base
        },
        "runs": [_run(cell, asked[cell], blanks[cell], asked[base[cell.regime]]) for cell in trained],
    }


def _run(cell: Cell, images: Evaluation, blanks: Evaluation, base: Evaluation) -> dict[str, Any]:
    """Return one run's numbers."""
    folder = RunFolder(path=cell.folder / RUN)
    result = RunResult.read(folder.path)
    config = json.loads(folder.config.read_text(encoding="utf-8"))
    values = {name: held["value"] for name, held in config.items() if isinstance(held, dict) and "origin" in held}
    found = compare(images, base)
    return {
        "regime": cell.regime,
        "arm": cell.arm,
        "seed": cell.seed,
        "data": cell.setting.data(cell.regime, cell.arm),
        "config": {name: values[name] for name in sorted(values) if name not in ("data", "seed")},
        "trajectories": config["examples"],
        "commit": config["commit"],
        "best_step": result.best_step,
        "seconds": result.seconds,
        "terms": result.terms,
        "monitors": result.monitors,
        "images": _accuracies(images),
        "blanks": _accuracies(blanks),
        "against_base": {"difference": found.first - found.second, **asdict(found.test)},
        "latents": json.loads((cell.answers / LATENTS).read_text(encoding="utf-8")),
    }


def _accuracies(found: Evaluation) -> dict[str, Any]:
    scored = found.scored[0]
    return {name: asdict(accuracy) for name, accuracy in ((ALL, scored.overall), *scored.tasks.items())}


def _regime(base: Evaluation, trained: Mapping[Cell, Evaluation]) -> dict[str, Any]:
    """Return for every task, and all of them, each arm over its seeds, its gain, and what separates the arms."""
    arms: dict[str, list[Evaluation]] = {}
    for cell, found in trained.items():
        arms.setdefault(str(cell.arm), []).append(found)
    return {
        task: {
            "arms": {
                arm: {
                    **asdict(Spread.of([_accuracies(one)[task]["value"] for one in found])),
                    "gain": asdict(over_items([_correct(one, task) for one in found], [_correct(base, task)])),
                }
                for arm, found in arms.items()
            },
            "between": {
                f"{b} - {a}": asdict(over_items(*([_correct(one, task) for one in arms[name]] for name in (b, a))))
                for a, b in combinations(arms, 2)
            },
        }
        for task in _accuracies(base)
    }


def _correct(found: Evaluation, task: str) -> list[bool]:
    return [answer.correct for answer in found.scored[0].answers if task in (ALL, answer.task)]
