"""Trajectories to train on and questions to ask, drawn from the tasks, each scene in one split alone."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import final

import numpy as np

from jepa_vlm.errors import DataError, UnknownNameError
from jepa_vlm.playground.scene import Scene, scene_maps
from jepa_vlm.playground.task import Dials, Difficulty, Episode, Task
from jepa_vlm.playground.tasks import TASKS
from jepa_vlm.playground.tools import use
from jepa_vlm.playground.vocabulary import DIRECT_INSTRUCTION, TOOL_INSTRUCTION
from jepa_vlm.trajectories import LazyImage, MultipleChoice, Step, Trajectory
from jepa_vlm.trajectories.load import DataSpec

SPLITS = ("train", "validation", "test")
_TRAIN, _VALIDATION = 0.8, 0.9  # where the hashes of the splits end
DIRECT_SHARE = 0.3  # share of trajectories without tools; the same for every recipe
DIALS = tuple(dial.name for dial in fields(Difficulty))
KEYS = ("direct", *DIALS)
_EXAMPLE = "For example playground:visual-search#direct=1,size=5-7."
_ALLOWED = f"Options are direct (a share from 0 to 1) and {', '.join(DIALS)} (LOW-HIGH). {_EXAMPLE}"


def trajectories(
    task: str,
    *,
    count: int,
    seed: int = 0,
    split: str = "train",
    direct_share: float = DIRECT_SHARE,
    dials: Dials | None = None,
) -> list[Trajectory]:
    """Return expert trajectories, whose last step is the answer's letter alone.

    A share of them are direct: the item comes with the instruction that evaluation uses, and the answer follows at
    once, without a tool. Without direct trajectories every answer is trained to start with a tool call, and direct
    accuracy falls below the untrained model's. With two instructions one model learns both.

    Args:
        task: Name of a task in ``TASKS``.
        count: Number of items; item i does not depend on it.
        seed: Random seed, at least 0.
        split: ``"train"``, ``"validation"`` or ``"test"``; no scene is in two of them.
        direct_share: Share of direct trajectories in [0, 1], spread evenly.
        dials: Fields of ``Difficulty`` that replace the task's own.

    Raises:
        UnknownNameError: If there is no such task.
        ValueError: If an argument is out of its range.
    """
    if not 0 <= direct_share <= 1:
        raise ValueError(f"direct_share must lie in [0, 1], got {direct_share}.")
    drawn = episodes(task, count=count, seed=seed, split=split, dials=dials)
    return [
        _trajectory(
            episode, rng, f"{task}-{split}-{seed}-{i}", direct=int((i + 1) * direct_share) > int(i * direct_share)
        )
        for i, (episode, rng) in enumerate(drawn)
    ]


def questions(
    task: str, *, count: int, seed: int = 0, split: str = "test", dials: Dials | None = None
) -> list[MultipleChoice]:
    """Return multiple-choice items with the direct instruction; the letter that follows is scored.

    Args:
        task: Name of a task in ``TASKS``.
        count: Number of items; item i does not depend on it.
        seed: Random seed, at least 0.
        split: ``"train"``, ``"validation"`` or ``"test"``; no scene is in two of them.
        dials: Fields of ``Difficulty`` that replace the task's own.

    Raises:
        UnknownNameError: If there is no such task.
        ValueError: If an argument is out of its range.
    """
    return [
        MultipleChoice(
            id=f"{task}-{split}-{seed}-{i}",
            images=(LazyImage(pixels=episode.picture.draw(rng)),),
            prompt=episode.prompt(DIRECT_INSTRUCTION),
            options=episode.options,
            answer=episode.answer,
            task=episode.task,
        )
        for i, (episode, rng) in enumerate(episodes(task, count=count, seed=seed, split=split, dials=dials))
    ]


def episodes(
    task: str, *, count: int, seed: int = 0, split: str = "train", dials: Dials | None = None
) -> Iterator[tuple[Episode, np.random.Generator]]:
    """Yield episodes of one split, each with the random generator that draws its picture.

    Raises:
        UnknownNameError: If there is no such task.
        ValueError: If an argument is out of its range.
    """
    drawer = TASKS[task]
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}; got {split!r}.")
    if count < 0 or seed < 0:
        raise ValueError(f"count and seed must be at least 0, got {count=} and {seed=}.")
    for i in range(count):
        rng = np.random.default_rng([seed, zlib.crc32(task.encode()), SPLITS.index(split), i])
        while split_of((episode := _episode(drawer.chosen(rng), rng, dials or {})).picture.key) != split:
            pass
        yield episode, rng


def _episode(task: Task, rng: np.random.Generator, dials: Dials) -> Episode:
    return task.sample(rng, replace(task.difficulty, **dials))


def _trajectory(episode: Episode, rng: np.random.Generator, name: str, *, direct: bool) -> Trajectory:
    picture = episode.picture.draw(rng)
    # The exact depth, edges and shapes, computed when wanted. Mazes, charts and puzzles have none.
    truth = partial(scene_maps, episode.picture) if isinstance(episode.picture, Scene) else None
    actions = () if direct else episode.actions
    tool_steps = [
        Step(action.text, action.call, LazyImage(pixels=use(action.call, picture)), action.observation)
        for action in actions
    ]
    return Trajectory(
        id=name,
        images=(LazyImage(pixels=picture, truth=truth),),
        question=episode.prompt(DIRECT_INSTRUCTION if direct else TOOL_INSTRUCTION),
        steps=(*tool_steps, Step(episode.letter)),
        answer=episode.letter,
        task=episode.task,
    )


def split_of(key: str) -> str:
    """Return the split of a scene, from a hash of its discrete content: no seed, task or question changes it."""
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    if place < _TRAIN:
        return "train"
    return "validation" if place < _VALIDATION else "test"


@final
@dataclass(frozen=True)
class World:
    """A task with its difficulty: the source of a run's trajectories and questions, named by a data spec.

    Args:
        task: Name of a task in ``TASKS``.
        direct_share: Share of direct trajectories; questions are always direct.
        dials: Fields of ``Difficulty`` that replace the task's own, for trajectories and questions.
    """

    task: str
    direct_share: float = DIRECT_SHARE
    dials: Dials = field(default_factory=dict)

    @classmethod
    def of(cls, spec: DataSpec) -> World:
        """Return the world of ``playground:TASK#KEY=VALUE,KEY=VALUE``.

        Raises:
            UnknownNameError: If there is no such option.
            DataError: If an option has a value that it cannot have.
        """
        if "#" in spec.rest:
            raise DataError(f"What follows '#' must be KEY=VALUE,KEY=VALUE, got {str(spec)!r}. {_ALLOWED}")
        for key in spec.options:
            if key not in KEYS:
                raise UnknownNameError("playground option", key, known=KEYS, hint=_EXAMPLE)
        given = dict(spec.options)
        try:
            share = _share(given.pop("direct")) if "direct" in given else DIRECT_SHARE
            dials = {key: _range(key, value) for key, value in given.items()}
            Difficulty(**dials)
            return cls(spec.rest, share, dials)
        except ValueError as err:
            raise DataError(f"{spec}: {err} {_ALLOWED}") from None

    def trajectories(self, *, count: int, seed: int = 0, split: str = "train") -> list[Trajectory]:
        """Return trajectories; see ``playground.trajectories``."""
        return trajectories(
            self.task,
            count=count,
            seed=seed,
            split=split,
            direct_share=self.direct_share,
            dials=self.dials,
        )

    def questions(self, *, count: int, seed: int = 0, split: str = "test") -> list[MultipleChoice]:
        """Return questions; see ``playground.questions``."""
        return questions(self.task, count=count, seed=seed, split=split, dials=self.dials)


def _share(text: str) -> float:
    if not re.fullmatch(r"\d*\.?\d+", text) or not 0 <= float(text) <= 1:
        raise ValueError(f"direct must be a share from 0 to 1, got {text!r}.")
    return float(text)


def _range(key: str, text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", text)
    if found is None:
        raise ValueError(f"{key} must be LOW-HIGH or one number, got {text!r}.")
    return int(found[1]), int(found[2] or found[1])
