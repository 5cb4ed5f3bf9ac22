"""A playground task draws episodes; an episode is a picture, a question and an expert's way to its answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Protocol, final

import numpy as np
from PIL import Image

from jepa_vlm.playground.difficulty import Difficulty
from jepa_vlm.playground.vocabulary import LETTERS
from jepa_vlm.trajectories import ToolCall


class Picture(Protocol):
    """Something that is decided before it is drawn, so that a scene of the wrong split costs no drawing."""

    @property
    def key(self) -> str:
        """The discrete content; it decides the split."""

    def draw(self, rng: np.random.Generator) -> Image.Image:
        """Return the pixels; ``rng`` sets what is not part of the key, such as light."""


@final
@dataclass(frozen=True)
class Action:
    """One expert step: what is said, the tool that is called, and the words that come back with its picture."""

    text: str
    call: ToolCall
    observation: str = ""


@final
@dataclass(frozen=True)
class Episode:
    """One drawn item, its picture not yet rendered.

    Args:
        task: Name of the task that drew it.
        picture: What is shown.
        question: What is asked, without options or instruction.
        options: The option texts, in the order of the letters.
        answer: Index of the right one.
        actions: The expert's tool calls, each on the input picture; what follows them is the answer's letter.
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
        """Return question, options and instruction as they are asked."""
        options = " ".join(f"{letter} {option}" for letter, option in zip(LETTERS, self.options, strict=False))
        return f"{self.question} {options}. {instruction}"


class Task(ABC):
    """Draws episodes. Subclasses are final, hold no state, and let the answer be independent of the text.

    ``difficulty`` is how hard they are unless something else is asked for.
    """

    difficulty: ClassVar[Difficulty] = Difficulty()

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is filed under; a class attribute will do."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> Episode:
        """Return one episode; every choice comes from ``rng``."""

    def chosen(self, rng: np.random.Generator) -> Task:
        """Return the task that draws the next episode: itself, unless it is made of others."""
        return self
