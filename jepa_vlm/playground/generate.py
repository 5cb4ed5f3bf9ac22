"""Trajectories to train on and questions to ask, drawn from the tasks."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from jepa_vlm.playground.difficulty import Dials
from jepa_vlm.playground.maps import truth_of
from jepa_vlm.playground.splits import SPLITS, split_of
from jepa_vlm.playground.task import Episode, Task
from jepa_vlm.playground.tasks import TASKS
from jepa_vlm.playground.tools import use
from jepa_vlm.playground.vocabulary import DIRECT_INSTRUCTION, TOOL_INSTRUCTION
from jepa_vlm.trajectories import LazyImage, MultipleChoice, Step, Trajectory

DIRECT_SHARE = 0.3  # of the training trajectories, the same for every recipe; the others use tools


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

    A share of them are direct: the same kind of item, asked with the instruction that evaluation uses and answered
    at once, without a tool. Without them the first token of every answer is trained to begin a look, and answering
    straight away collapses below the untrained model; the two instructions let one model do both. The share is the
    same for every recipe.

    Args:
        task: Name of a task in ``TASKS``.
        count: How many; item i is the same whatever the count.
        seed: Of the draws, at least 0.
        split: ``"train"``, ``"validation"`` or ``"test"``; no scene is in two of them.
        direct_share: Share of direct turns in [0, 1], spread evenly.
        dials: Fields of ``Difficulty`` in place of the task's own.

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
    """Return multiple-choice items with the direct instruction; they are scored by the letter that follows.

    Args:
        task: Name of a task in ``TASKS``.
        count: How many; item i is the same whatever the count.
        seed: Of the draws, at least 0.
        split: ``"train"``, ``"validation"`` or ``"test"``; no scene is in two of them.
        dials: Fields of ``Difficulty`` in place of the task's own.

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
    """Yield episodes of one split, each with the generator that its picture is to be drawn with.

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
    actions = () if direct else episode.actions
    looks = [
        Step(action.text, action.call, LazyImage(pixels=use(action.call, picture)), action.observation)
        for action in actions
    ]
    return Trajectory(
        id=name,
        images=(LazyImage(pixels=picture, truth=truth_of(episode.picture)),),
        question=episode.prompt(DIRECT_INSTRUCTION if direct else TOOL_INSTRUCTION),
        steps=(*looks, Step(episode.letter)),
        answer=episode.letter,
        task=episode.task,
    )
