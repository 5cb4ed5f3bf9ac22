"""Puzzle lessons: which piece fits the hole."""

from __future__ import annotations

from typing import ClassVar, final

import numpy as np

from jepa_vlm.playground.canvas import CELL, shape_mask
from jepa_vlm.playground.difficulty import Difficulty
from jepa_vlm.playground.lessons.lesson import Lesson, Teacher, turn
from jepa_vlm.playground.scene import Cell
from jepa_vlm.playground.tasks.jigsaw import Puzzle, some_puzzle
from jepa_vlm.playground.tools import BOARD, PIECE_COLUMNS, PIECE_ROW
from jepa_vlm.playground.vocabulary import ORDINALS


@final
class PuzzleTeacher(Teacher):
    """The one question of the jigsaw, twice with different options.

    The cell of the right piece shows that it fits. With colours, cells of the board and pieces also show the colour
    that covers most of them; the hole shows the one that is missing.

    Args:
        name: Of the teacher.
        colors: Whether cells show colours.
    """

    turns_per_lesson: ClassVar[int] = 2

    def __init__(self, *, name: str, colors: bool) -> None:
        self._name, self.colors = name, colors

    @property
    def name(self) -> str:
        """What the teacher is filed under."""
        return self._name

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> Lesson:
        """Return one lesson; difficulty has no say in it."""
        puzzle = some_puzzle(rng)
        right = puzzle.pieces.index(puzzle.hole)
        turns = tuple(
            turn(rng, "piece", "Which piece fits the hole?", ORDINALS[right], ORDINALS)
            for _ in range(self.turns_per_lesson)
        )
        cells: dict[Cell, tuple[str | None, str | None]] = {}
        if self.colors:
            shown = _colors(puzzle)
            cells = {cell: (color, None) for cell, color in shown.items()}
            cells |= {
                (column, PIECE_ROW): (shown.get(piece), None)
                for column, piece in zip(PIECE_COLUMNS, puzzle.pieces, strict=True)
            }
        color = cells.get(puzzle.hole, (None, None))[0]
        cells |= {puzzle.hole: (color, "hole"), (PIECE_COLUMNS[right], PIECE_ROW): (color, "fits")}
        return Lesson(puzzle, turns, cells)


def _colors(puzzle: Puzzle) -> dict[Cell, str]:
    """Return the colour of each cell of the board that one colour covers for the most part."""
    side = BOARD * CELL
    top = np.full((side, side), -1)
    for number, blob in enumerate(puzzle.blobs):
        region = top[blob.top : blob.top + blob.size, blob.left : blob.left + blob.size]
        region[shape_mask(blob.shape, blob.size)[..., 0] > 0.5] = number
    found = {}
    for column in range(1, BOARD + 1):
        for row in range(1, BOARD + 1):
            cell = top[(row - 1) * CELL : row * CELL, (column - 1) * CELL : column * CELL]
            for number, blob in enumerate(puzzle.blobs):
                if (cell == number).mean() > 0.5:
                    found[column, row] = blob.color
    return found


PUZZLE = PuzzleTeacher(name="puzzle", colors=False)
PATCHWORK = PuzzleTeacher(name="patchwork", colors=True)
