"""Jigsaw: which of four pieces fits the hole? Assembling shows the completed picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from PIL import Image

from jepa_vlm.playground.canvas import CELL, Pixels, lit_canvas, paint, to_image
from jepa_vlm.playground.scene import Cell, pick
from jepa_vlm.playground.task import Action, Difficulty, Episode, Task
from jepa_vlm.playground.tools import BOARD, PIECE_COLUMNS, PIECE_ROW, assemble_call
from jepa_vlm.playground.vocabulary import COLORS, LETTERS, ORDINALS, SHAPES

_SOLID = tuple(shape for shape in SHAPES if shape not in ("bar", "ring", "corner", "cross"))
_DIFFERENCE = 25.0  # least mean difference of two pieces in pixel values, 0 to 255


@final
@dataclass(frozen=True)
class Blob:
    """One large shape of the picture; left, top and size in pixels of the board."""

    color: str
    shape: str
    left: int
    top: int
    size: int


@final
@dataclass(frozen=True)
class Puzzle:
    """A board of overlapping large shapes with one cell cut out, and a row of four pieces below it.

    Args:
        blobs: The shapes, back to front.
        hole: The cell that is cut out.
        pieces: The cells that the pieces are copies of, left to right; one of them is the hole.
    """

    blobs: tuple[Blob, ...]
    hole: Cell
    pieces: tuple[Cell, ...]

    @property
    def key(self) -> str:
        """The shapes alone, so a board with another hole stays in the same split."""
        return "puzzle " + ", ".join(f"{b.color} {b.shape} {b.left} {b.top} {b.size}" for b in self.blobs)

    def draw(self, rng: np.random.Generator) -> Image.Image:
        """Return the picture; ``rng`` sets its light."""
        canvas = lit_canvas(rng)
        board = canvas[: BOARD * CELL, : BOARD * CELL]
        board[:] = board * 0.25 + 185
        paint_blobs(board, self.blobs)
        cut = [at_cell(board, cell).copy() for cell in self.pieces]
        at_cell(board, self.hole)[:] = 90
        for column, piece in zip(PIECE_COLUMNS, cut, strict=True):
            at_cell(canvas, (column, PIECE_ROW))[:] = piece
        return to_image(canvas)


@final
class Jigsaw(Task):
    """ "Which piece fits the hole?", with pieces named first to fourth from the left."""

    name: ClassVar[str] = "jigsaw"

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> Episode:
        """Return one episode with one assembly; the difficulty changes nothing."""
        puzzle = some_puzzle(rng)
        right = puzzle.pieces.index(puzzle.hole)
        order = rng.permutation(len(LETTERS)).tolist()
        options, index = tuple(ORDINALS[at] for at in order), order.index(right)
        place = Action(f"The {ORDINALS[right]} piece is put in.", assemble_call(right + 1, *puzzle.hole))
        return Episode(self.name, puzzle, "Which piece fits the hole?", options, index, (place,))


def some_puzzle(rng: np.random.Generator) -> Puzzle:
    """Return a puzzle whose pieces look different from each other."""
    while True:
        blobs = _blobs(rng)
        board = np.full((BOARD * CELL, BOARD * CELL, 3), 240, np.float32)
        paint_blobs(board, blobs)
        if (pieces := _distinct_cells(rng, board)) is not None:
            return Puzzle(blobs, pieces[int(rng.integers(len(pieces)))], pieces)


def at_cell(canvas: Pixels, cell: Cell) -> Pixels:
    """Return the view of one cell of the canvas."""
    left, top = (cell[0] - 1) * CELL, (cell[1] - 1) * CELL
    return canvas[top : top + CELL, left : left + CELL]


def paint_blobs(board: Pixels, blobs: tuple[Blob, ...]) -> None:
    """Draw the shapes onto the board, in place."""
    for blob in blobs:
        paint(board, blob.shape, blob.color, blob.left, blob.top, blob.size)


def _blobs(rng: np.random.Generator) -> tuple[Blob, ...]:
    colors = [COLORS[at] for at in rng.permutation(len(COLORS))[:2]]
    sizes = [int(rng.integers(10, 14)) * 4 for _ in colors]
    spots = [(rng.integers(0, BOARD * CELL - size + 1, 2) // 4 * 4).tolist() for size in sizes]
    return tuple(Blob(c, pick(rng, _SOLID), x, y, s) for c, (x, y), s in zip(colors, spots, sizes, strict=True))


def _distinct_cells(rng: np.random.Generator, board: Pixels) -> tuple[Cell, ...] | None:
    """Return four cells with an edge in them that look different from each other, in random order, or None."""
    chosen: list[Cell] = []
    for at in rng.permutation(BOARD * BOARD).tolist():
        cell = (at % BOARD + 1, at // BOARD + 1)
        looks = at_cell(board, cell)
        distances = [float(np.abs(looks - at_cell(board, other)).mean()) for other in chosen]
        if looks.std(axis=(0, 1)).max() > _DIFFERENCE and min(distances, default=_DIFFERENCE) >= _DIFFERENCE:
            chosen.append(cell)
        if len(chosen) == len(LETTERS):
            return tuple(chosen)
    return None
