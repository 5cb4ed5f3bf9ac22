"""Lessons: pictures with dense questions in words and by letter, from which the bundled model learns to see."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.pretrain_tiny.lessons.lesson import FORMS, Form, Lesson, Shown, Teacher, Turn
from benchmarks.pretrain_tiny.lessons.pictures import MAZE, WAY, ChartTeacher, PuzzleTeacher
from benchmarks.pretrain_tiny.lessons.scenes import OPTION, PLACE, RELATION, SCENE, CloseupTeacher, TalkTeacher
from jepa_vlm.playground.generate import SPLITS, split_of
from jepa_vlm.playground.task import Difficulty
from jepa_vlm.registry import Registry

__all__ = ["EASY", "FORMS", "FULL", "TEACHERS", "Form", "Lesson", "Shown", "Teacher", "Turn", "lessons"]

TEACHERS: Registry[Teacher] = Registry("playground teacher", hint="Teachers live in benchmarks/pretrain_tiny/lessons/.")
for _teacher in (
    SCENE,
    PLACE,
    RELATION,
    OPTION,
    ChartTeacher(),
    MAZE,
    WAY,
    PuzzleTeacher(),
    TalkTeacher(),
    CloseupTeacher(),
):
    TEACHERS.register(_teacher.name)(_teacher)

EASY = Difficulty(size=(12, 14), objects=(1, 3), bars=(4, 5), path=(1, 3))
FULL = Difficulty(size=(8, 14), objects=(4, 9), bars=(4, 6), path=(1, 6))


def lessons(
    teacher: str, *, count: int, seed: int | Sequence[int] = 0, split: str = "train", difficulty: Difficulty = FULL
) -> Iterator[tuple[Lesson, np.random.Generator]]:
    """Yield lessons of one split, each with the generator that its picture is to be drawn with.

    Args:
        teacher: Name of a teacher in ``TEACHERS``.
        count: How many; lesson i is the same whatever the count.
        seed: Of the draws: one number, or several, each at least 0.
        split: ``"train"``, ``"validation"`` or ``"test"``; no picture is in two of them.
        difficulty: Sizes and counts.

    Raises:
        UnknownNameError: If there is no such teacher.
        ValueError: If the split is unknown.
    """
    drawer, seeds = TEACHERS[teacher], [seed] if isinstance(seed, int) else list(seed)
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}; got {split!r}.")
    for i in range(count):
        rng = np.random.default_rng([*seeds, zlib.crc32(teacher.encode()), SPLITS.index(split), i])
        while split_of((lesson := drawer.sample(rng, difficulty)).picture.key) != split:
            pass
        yield lesson, rng
