"""The arms that are compared, and what all of their runs have in common."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, final

from jepa_vlm import load_backbone
from jepa_vlm.errors import UnknownNameError
from jepa_vlm.playground import REGIMES, TASKS, World
from jepa_vlm.trajectories import MultipleChoice, Trajectory
from jepa_vlm.trajectories.load import parse_spec

ITEM_SEED = 1_000_003  # of the questions, the same for every arm and seed
PROBED = 32  # training trajectories that tell one version of the world from another


@final
@dataclass(frozen=True)
class Arm:
    """A recipe, and what it changes about the data."""

    recipe: str
    options: str = ""


ARMS = {
    "sft": Arm("sft"),
    "pearl": Arm("pearl"),
    "pearl_released": Arm("pearl_released"),
    "direct": Arm("sft", "direct=1"),
}


@final
@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all runs have in common.

    Args:
        backbone: As for ``load_backbone``.
        steps, learning_rate, batch_size: In place of the backbone profile's; None keeps them.
        dials: Of the scenes, as in a data spec: ``"size=5-7,path=2"``.
        split: Where the questions come from: ``validation`` to choose dials on, ``test`` to report.
        count: Questions for each regime.
        latents: Held-out trajectories that the latent loss is measured on.

    Raises:
        ValueError: If a value is out of its range.
    """

    backbone: str = "tiny-qwen2.5-vl"
    steps: int | None = None
    learning_rate: float | None = None
    batch_size: int | None = None
    dials: str = ""
    split: str = "validation"
    count: int = 2000
    latents: int = 256

    def __post_init__(self) -> None:
        if self.split not in ("validation", "test"):
            raise ValueError(f"split must be validation or test, got {self.split!r}.")
        if self.count < 2 or self.latents < 2:
            raise ValueError(f"count and latents must be at least 2, got {self.count} and {self.latents}.")

    def data(self, regime: str, arm: str | None = None) -> str:
        """Return the data spec of a regime, with what an arm changes."""
        options = ",".join(part for part in (self.dials, ARMS[arm].options if arm else "") if part)
        return f"playground:{regime}#{options}" if options else f"playground:{regime}"

    def world(self, regime: str) -> World:
        """Return where a regime's questions come from."""
        return World.of(parse_spec(self.data(regime)))

    def questions(self, regime: str) -> list[MultipleChoice]:
        """Return the questions of a regime, the same ones at every call."""
        return self.world(regime).questions(count=self.count, seed=ITEM_SEED, split=self.split)

    def training(self) -> dict[str, Any]:
        """Return what ``jepa_vlm.train`` is told beside recipe, data and seed."""
        names = ("backbone", "steps", "learning_rate", "batch_size")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


@final
@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of the comparison; without an arm, the backbone as it is.

    Args:
        setting: Of all runs.
        regime: A name of ``playground.REGIMES``.
        folder: The run's own; its name changes with whatever decides how the run trains.
        answers: Inside of it, named after what decides the questions.
        arm, seed: None for the backbone as it is.
    """

    setting: Setting
    regime: str
    folder: Path
    answers: Path
    arm: str | None = None
    seed: int | None = None


def cells(
    setting: Setting, *, regimes: Sequence[str], arms: Sequence[str], seeds: Sequence[int], work: Path
) -> Iterator[Cell]:
    """Yield the base's cell and every arm's of each regime, seed by seed.

    Raises:
        UnknownNameError: If there is no such regime or arm.
    """
    for kind, names, known in (("regime", regimes, REGIMES), ("arm", arms, ARMS)):
        for name in names:
            if name not in known:
                raise UnknownNameError(kind, name, known=known)
    weights, asked, probe = _weights(setting.backbone), {}, {}
    for regime in regimes:
        asked[regime] = digest_of_questions(setting.questions(regime))
        probe[regime] = _trajectories(World.of(parse_spec(setting.data(regime))).trajectories(count=PROBED))
        folder = work / f"{regime}-base-{_short(weights)}"
        yield Cell(setting=setting, regime=regime, folder=folder, answers=folder / _short(asked[regime]))
    for seed in seeds:
        for regime in regimes:
            for arm in arms:
                decides = [setting.training(), ARMS[arm].recipe, setting.data(regime, arm), seed]
                folder = work / f"{regime}-{arm}-{seed}-{_short(json.dumps(decides), weights, probe[regime])}"
                answers = folder / _short(asked[regime], str(setting.latents))
                yield Cell(setting=setting, regime=regime, folder=folder, answers=answers, arm=arm, seed=seed)


def digest_of_questions(items: Sequence[MultipleChoice]) -> str:
    """Return the SHA-256 of what is asked, pictures included."""
    found = hashlib.sha256()
    for item in items:
        found.update(json.dumps([item.id, item.prompt, item.answer]).encode())
        for image in item.images:
            found.update(image.load().tobytes())
    return found.hexdigest()


def _trajectories(trajectories: Sequence[Trajectory]) -> str:
    found = hashlib.sha256()
    for trajectory in trajectories:
        found.update(json.dumps([trajectory.question, *(step.spoken for step in trajectory.steps)]).encode())
        for image in trajectory.all_images:
            found.update(image.load().tobytes())
    return found.hexdigest()


def _weights(backbone: str) -> str:
    found = hashlib.sha256()
    for name, tensor in sorted(load_backbone(backbone).base.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.float().numpy().tobytes())
    return found.hexdigest()


def _short(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def described(setting: Setting) -> dict[str, Any]:
    """Return the setting as JSON values, dials that were not named included."""
    dials = setting.world(next(iter(REGIMES))).dials
    tasks = {name: asdict(replace(TASKS[name].difficulty, **dials)) for name in REGIMES["mixture"]}
    return {**asdict(setting), "item_seed": ITEM_SEED, "difficulty": tasks}
