"""A playground task draws episodes; an episode is a picture, a question and an expert's steps to its answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, Protocol, final

import numpy as np
from PIL import Image

from jepa_vlm.playground.vocabulary import LETTERS
from jepa_vlm.trajectories import ToolCall

Dials = Mapping[str, tuple[int, int]]  # fields of ``Difficulty`` that replace a task's own
_LIMITS = {"size": (4, 14), "objects": (1, 40), "bars": (4, 7), "path": (1, 10)}


@final
@dataclass(frozen=True)
class Difficulty:
    """Inclusive ranges that scenes are drawn from. Small objects and many objects are hard.

    Args:
        size: Side of an object in pixels, 4 to 14; a cell has 16.
        objects: Objects of a scene, 1 to 40; never fewer than the question needs.
        bars: Bars of a chart, 4 to 7.
        path: Moves from a maze's start to its exit, 1 to 10.

    Raises:
        ValueError: If a range is inverted or beyond its limits.
    """

    size: tuple[int, int] = (5, 7)
    objects: tuple[int, int] = (10, 14)
    bars: tuple[int, int] = (6, 7)
    path: tuple[int, int] = (5, 9)

    def __post_init__(self) -> None:
        for field in fields(self):
            low, high = getattr(self, field.name)
            least, most = _LIMITS[field.name]
            if not least <= low <= high <= most:
                raise ValueError(
                    f"{field.name} must be (low, high) with {least} <= low <= high <= {most}, got {(low, high)}."
                )


class Picture(Protocol):
    """The content of a picture, not yet drawn, so that a scene of the wrong split costs no drawing."""

    @property
    def key(self) -> str:
        """The discrete content as text; it decides the split."""

    def draw(self, rng: np.random.Generator) -> Image.Image:
        """Return the picture; ``rng`` sets what is not part of the key, such as light."""


@final
@dataclass(frozen=True)
class Action:
    """One expert step: its text, its tool call, and the text that returns with the tool's picture."""

    text: str
    call: ToolCall
    observation: str = ""


@final
@dataclass(frozen=True)
class Episode:
    """One drawn item, its picture not yet rendered.

    Args:
        task: Name of the task that drew the episode.
        picture: The content of the picture.
        question: The question without options and instruction.
        options: The option texts, in the order of the letters.
        answer: Index of the right option.
        actions: The expert's tool calls, each on the input picture. The letter of the answer follows them.
    """

    task: str
    picture: Picture
    question: str
    options: tuple[str, ...]
    answer: int
    actions: tuple[Action, ...]

    @property
    def letter(self) -> str:
        """The right option's letter."""
        return LETTERS[self.answer]

    def prompt(self, instruction: str) -> str:
        """Return question, options and instruction as one text."""
        options = " ".join(f"{letter} {option}" for letter, option in zip(LETTERS, self.options, strict=False))
        return f"{self.question} {options}. {instruction}"


class Task(ABC):
    """Draws episodes. Subclasses are final and without state, and the text must not give the answer away.

    ``difficulty`` is the difficulty of a task unless the caller sets another.
    """

    difficulty: ClassVar[Difficulty] = Difficulty()

    @property
    @abstractmethod
    def name(self) -> str:
        """The task's name in ``TASKS``; a class attribute will do."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> Episode:
        """Return one episode; all randomness comes from ``rng``."""

    def chosen(self, rng: np.random.Generator) -> Task:
        """Return the task that draws the next episode: this one, or a task of a mixture."""
        return self


@final
class TaskMixture(Task):
    """Draws a task, each as likely, then an episode of it; the episode names the task that drew it.

    Args:
        name: Name of the mixture.
        tasks: At least one task.

    Raises:
        ValueError: If there is no task.
    """

    def __init__(self, *, name: str, tasks: Sequence[Task]) -> None:
        if not tasks:
            raise ValueError("A mixture needs at least one task, got none.")
        self._name, self.tasks = name, tuple(tasks)

    @property
    def name(self) -> str:
        """See ``Task.name``."""
        return self._name

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> Episode:
        """Return one episode of one of the tasks."""
        return self.chosen(rng).sample(rng, difficulty)

    def chosen(self, rng: np.random.Generator) -> Task:
        """Return one of the tasks."""
        return self.tasks[int(rng.integers(len(self.tasks)))]
