"""Maze: which of four exits can be reached from the start? Drawing the path shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from PIL import Image

from jepa_vlm.playground.canvas import CELL, GRID, SIDE, lit_canvas, paint, to_image
from jepa_vlm.playground.scene import Cell
from jepa_vlm.playground.task import Action, Difficulty, Episode, Task
from jepa_vlm.playground.tools import SHIFTS, draw_path_call
from jepa_vlm.playground.vocabulary import COLORS, LETTERS

CORNERS: tuple[Cell, ...] = ((1, 1), (GRID, 1), (1, GRID), (GRID, GRID))
EXIT_COLORS = tuple(color for color in COLORS if color != "black")


@final
@dataclass(frozen=True)
class Labyrinth:
    """A grid of rooms. Every room leads to exactly one corner, where an exit is.

    Args:
        onward: For each room but the corners, the move that leads one room closer to its exit.
        exits: Colours of the exits, in the order of ``CORNERS``.
        start: The room with the black circle.
    """

    onward: dict[Cell, str]
    exits: tuple[str, ...]
    start: Cell

    @property
    def key(self) -> str:
        """The walls alone, so a maze with another start stays in the same split."""
        return "maze " + " ".join(f"{cell}{move}" for cell, move in sorted(self.onward.items()))

    @property
    def doors(self) -> set[frozenset[Cell]]:
        """The pairs of neighbouring rooms that no wall parts."""
        return {frozenset((cell, step(cell, move))) for cell, move in self.onward.items()}

    def way(self, cell: Cell) -> tuple[list[str], Cell]:
        """Return the moves from a room to its exit, and the corner where they end."""
        moves = []
        while cell in self.onward:
            moves.append(self.onward[cell])
            cell = step(cell, moves[-1])
        return moves, cell

    def draw(self, rng: np.random.Generator) -> Image.Image:
        """Return the picture; ``rng`` sets its light."""
        canvas, doors = lit_canvas(rng), self.doors
        for column in range(1, GRID + 1):
            for row in range(1, GRID + 1):
                right, bottom = column * CELL, row * CELL
                if frozenset(((column, row), (column + 1, row))) not in doors:
                    canvas[bottom - CELL : bottom + 1, right - 1 : right + 1] = 60
                if frozenset(((column, row), (column, row + 1))) not in doors:
                    canvas[bottom - 1 : bottom + 1, right - CELL : right + 1] = 60
        canvas[:1] = canvas[:, :1] = canvas[SIDE - 1 :] = canvas[:, SIDE - 1 :] = 60
        for (column, row), color in zip(CORNERS, self.exits, strict=True):
            paint(canvas, "square", color, (column - 1) * CELL + 3, (row - 1) * CELL + 3, 10)
        paint(canvas, "circle", "black", (self.start[0] - 1) * CELL + 4, (self.start[1] - 1) * CELL + 4, 8)
        return to_image(canvas)


@final
class Maze(Task):
    """ "Which exit can the circle reach?", with exits of four colours in the corners."""

    name: ClassVar[str] = "maze"

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> Episode:
        """Return one episode with one drawn path."""
        maze = some_maze(rng, difficulty)
        start, exits = maze.start, maze.exits
        moves, corner = maze.way(start)
        order = rng.permutation(len(LETTERS)).tolist()
        options, index = tuple(exits[at] for at in order), order.index(CORNERS.index(corner))
        path = Action(f"Go from column {start[0]} row {start[1]}.", draw_path_call(*start, moves))
        return Episode(self.name, maze, "Which exit can the circle reach?", options, index, (path,))


def some_maze(rng: np.random.Generator, difficulty: Difficulty) -> Labyrinth:
    """Return a maze whose start is as many moves from its exit as the difficulty allows."""
    least, most = difficulty.path
    while True:
        onward = _grow(rng)
        rooms = list(onward)
        start = rooms[int(rng.integers(len(rooms)))]
        exits = tuple(EXIT_COLORS[at] for at in rng.permutation(len(EXIT_COLORS))[: len(CORNERS)])
        maze = Labyrinth(onward, exits, start)
        if least <= len(maze.way(start)[0]) <= most:
            return maze


def step(cell: Cell, move: str) -> Cell:
    """Return the neighbour of a cell that a move leads to."""
    return cell[0] + SHIFTS[move][0], cell[1] + SHIFTS[move][1]


def _grow(rng: np.random.Generator) -> dict[Cell, str]:
    """Let a tree grow from every corner until all rooms belong to one; return each room's move towards its root."""
    onward: dict[Cell, str] = {}
    taken = set(CORNERS)
    edges = [(step(cell, move), move) for cell in CORNERS for move in SHIFTS]
    while edges:
        at = int(rng.random() * len(edges))
        edges[at], edges[-1] = edges[-1], edges[at]
        cell, outward = edges.pop()
        if cell in taken or not (1 <= cell[0] <= GRID and 1 <= cell[1] <= GRID):
            continue
        taken.add(cell)
        onward[cell] = {"left": "right", "right": "left", "up": "down", "down": "up"}[outward]
        edges += [(step(cell, move), move) for move in SHIFTS]
    return onward
