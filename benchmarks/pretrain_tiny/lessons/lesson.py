"""A lesson: one picture, many short questions about it, and the words that each of its cells shows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from jepa_vlm.playground.scene import Cell, choices
from jepa_vlm.playground.task import Difficulty, Picture
from jepa_vlm.playground.vocabulary import DIRECT_INSTRUCTION, LETTERS, TEXT_INSTRUCTION, WORD_INSTRUCTION

Form = Literal["word", "choice", "letter"]
FORMS: tuple[Form, ...] = ("word", "choice", "letter")


@final
@dataclass(frozen=True)
class Turn:
    """A question with its answer, not yet put in a form.

    Args:
        kind: What it asks for, such as ``color`` or ``tallest``.
        question: Without options or instruction.
        answer: In words.
        options: The option texts in the order of the letters, the answer among them; empty if it has none.
        needs_options: Whether the question makes no sense without them.
        instruction: What follows a question that has none.
    """

    kind: str
    question: str
    answer: str
    options: tuple[str, ...] = ()
    needs_options: bool = False
    instruction: str = TEXT_INSTRUCTION

    @property
    def forms(self) -> tuple[Form, ...]:
        """The forms that it can be asked in."""
        if not self.options:
            return ("word",)
        return ("choice", "letter") if self.needs_options else FORMS

    def prompt(self, form: Form) -> str:
        """Return what is asked: for ``word`` the question alone, otherwise with its options."""
        if form == "word":
            return f"{self.question} {WORD_INSTRUCTION if self.options else self.instruction}"
        listed = " ".join(f"{letter} {option}" for letter, option in zip(LETTERS, self.options, strict=False))
        return f"{self.question} {listed}. {DIRECT_INSTRUCTION if form == 'letter' else WORD_INSTRUCTION}"

    def reply(self, form: Form) -> str:
        """Return the right answer in this form."""
        return LETTERS[self.options.index(self.answer)] if form == "letter" else self.answer


@final
@dataclass(frozen=True)
class Shown:
    """What one cell of a picture shows.

    Args:
        color: The colour that names it, if it has one.
        thing: Its shape, its height or its part in the puzzle.
        ways: Whether one can leave it by each of ``MOVES``; empty if nobody asks.
        quarters: The colour of each quarter, row by row, ``None`` for the ground; empty if nobody asks.
    """

    color: str | None = None
    thing: str | None = None
    ways: tuple[bool, ...] = ()
    quarters: tuple[str | None, ...] = ()


@final
@dataclass(frozen=True)
class Lesson:
    """A picture and what can be asked about it.

    Args:
        picture: Not yet drawn.
        turns: At least one.
        cells: What a cell shows. One that is not listed shows nothing. None if the picture is not laid out in cells.
    """

    picture: Picture
    turns: tuple[Turn, ...]
    cells: Mapping[Cell, Shown] | None


class Teacher(ABC):
    """Draws lessons of one sort. Subclasses are final and let every answer be independent of its text.

    ``turns_per_lesson`` is how many questions one picture is asked.
    """

    turns_per_lesson: int

    @property
    @abstractmethod
    def name(self) -> str:
        """What the teacher is filed under."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> Lesson:
        """Return one lesson; every choice comes from ``rng``."""


def turn(
    rng: np.random.Generator,
    kind: str,
    question: str,
    answer: str,
    values: Sequence[str],
    *,
    needs_options: bool = False,
) -> Turn:
    """Return a turn whose wrong options are drawn from ``values``."""
    options, _ = choices(rng, answer, values)
    return Turn(kind, question, answer, options, needs_options)
