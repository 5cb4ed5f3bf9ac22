"""Puzzle lessons: which piece fits the hole."""

from __future__ import annotations

from typing import final

import numpy as np
from einops import rearrange

from jepa_vlm.playground.canvas import CELL, shape_mask
from jepa_vlm.playground.difficulty import Difficulty
from jepa_vlm.playground.lessons.lesson import Lesson, Shown, Teacher, turn
from jepa_vlm.playground.scene import Cell
from jepa_vlm.playground.tasks.jigsaw import Puzzle, some_puzzle
from jepa_vlm.playground.tools import BOARD, PIECE_COLUMNS, PIECE_ROW
from jepa_vlm.playground.vocabulary import ORDINALS

_GROUND = -1  # where no shape lies


@final
class PuzzleTeacher(Teacher):
    """The one question of the jigsaw, twice with different options.

    The cell of the right piece shows that it fits. The board, its missing cell and the pieces show the colours of
    their quarters: to see what is missing is to complete the shapes around it.
    """

    name = "puzzle"
    turns_per_lesson = 2

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> Lesson:
        """Return one lesson; difficulty has no say in it."""
        puzzle = some_puzzle(rng)
        right = puzzle.pieces.index(puzzle.hole)
        turns = tuple(
            turn(rng, "piece", "Which piece fits the hole?", ORDINALS[right], ORDINALS)
            for _ in range(self.turns_per_lesson)
        )
        board = _quarters(puzzle)
        cells = {puzzle.hole: Shown(None, "hole", quarters=board[puzzle.hole])}
        for number, (column, piece) in enumerate(zip(PIECE_COLUMNS, puzzle.pieces, strict=True)):
            cells[column, PIECE_ROW] = Shown(None, "fits" if number == right else None, quarters=board[piece])
        return Lesson(puzzle, turns, cells)


def _quarters(puzzle: Puzzle) -> dict[Cell, tuple[str | None, ...]]:
    """Return for each cell of the board what lies on top in the middle of each of its quarters."""
    side = BOARD * CELL
    top = np.full((side, side), _GROUND)
    for number, blob in enumerate(puzzle.blobs):
        region = top[blob.top : blob.top + blob.size, blob.left : blob.left + blob.size]
        region[shape_mask(blob.shape, blob.size)[..., 0] > 0.5] = number
    colors = (*(blob.color for blob in puzzle.blobs), None)
    middles = rearrange(
        top[CELL // 4 :: CELL // 2, CELL // 4 :: CELL // 2],
        "(rows down) (columns right) -> rows columns (down right)", down=2, right=2,
    )  # fmt: skip
    return {
        (column, row): tuple(colors[number] for number in middles[row - 1, column - 1])
        for column in range(1, BOARD + 1)
        for row in range(1, BOARD + 1)
    }
