"""Puzzle lessons: which piece fits the hole."""

from __future__ import annotations

from typing import ClassVar, final

import numpy as np

from jepa_vlm.playground.difficulty import Difficulty
from jepa_vlm.playground.lessons.lesson import Lesson, Teacher, turn
from jepa_vlm.playground.scene import Cell
from jepa_vlm.playground.tasks.jigsaw import some_puzzle
from jepa_vlm.playground.tools import PIECE_COLUMNS, PIECE_ROW
from jepa_vlm.playground.vocabulary import ORDINALS


@final
class PuzzleTeacher(Teacher):
    """The one question of the jigsaw, twice with different options. The cell of the right piece shows that it fits."""

    name: ClassVar[str] = "puzzle"
    turns_per_lesson: ClassVar[int] = 2

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> Lesson:
        """Return one lesson; difficulty has no say in it."""
        puzzle = some_puzzle(rng)
        right = puzzle.pieces.index(puzzle.hole)
        turns = tuple(
            turn(rng, "piece", "Which piece fits the hole?", ORDINALS[right], ORDINALS)
            for _ in range(self.turns_per_lesson)
        )
        cells: dict[Cell, tuple[str | None, str | None]] = {
            puzzle.hole: (None, "hole"),
            (PIECE_COLUMNS[right], PIECE_ROW): (None, "fits"),
        }
        return Lesson(puzzle, turns, cells)
