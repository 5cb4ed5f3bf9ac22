"""Maze lessons: which ways are open, and which exit can be reached from the circle and from other rooms."""

from __future__ import annotations

from typing import final

import numpy as np

from jepa_vlm.playground.canvas import GRID
from jepa_vlm.playground.chance import pick
from jepa_vlm.playground.difficulty import Difficulty
from jepa_vlm.playground.lessons.lesson import Lesson, Shown, Teacher, Turn, turn
from jepa_vlm.playground.scene import Cell
from jepa_vlm.playground.tasks.maze import CORNERS, Labyrinth, some_maze, step
from jepa_vlm.playground.vocabulary import MOVES

INNER = tuple((column, row) for column in range(2, GRID) for row in range(2, GRID))  # rooms without an outer wall


@final
class MazeTeacher(Teacher):
    """Questions on one maze. A room shows the colour of the exit that it leads to, and which of its ways are open.

    Args:
        name: Of the teacher.
        exits: How many rooms are asked for the exit that they lead to.
        ways: How many times the circle and how many times some other room is asked whether a way is open.
    """

    def __init__(self, *, name: str, exits: int, ways: tuple[int, int]) -> None:
        self._name, self.exits, self.ways = name, exits, ways
        self.turns_per_lesson = 1 + exits + sum(ways)

    @property
    def name(self) -> str:
        """What the teacher is filed under."""
        return self._name

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> Lesson:
        """Return one lesson."""
        maze = some_maze(rng, difficulty)
        rooms, doors = list(maze.onward), maze.doors
        turns = [turn(rng, "exit", "Which exit can the circle reach?", _exit(maze, maze.start), maze.exits)]
        for at in rng.permutation(len(rooms))[: self.exits]:
            question = f"Which exit can column {rooms[at][0]} row {rooms[at][1]} reach?"
            turns.append(turn(rng, "exit-from", question, _exit(maze, rooms[at]), maze.exits))
        open_ways = {cell: tuple(frozenset((cell, step(cell, move))) in doors for move in MOVES) for cell in rooms}
        turns += [_open(rng, open_ways[maze.start]) for _ in range(self.ways[0])]
        turns += [_open_from(rng, open_ways) for _ in range(self.ways[1])]
        things = dict.fromkeys(CORNERS, "square") | {maze.start: "circle"}
        cells = {
            cell: Shown(_exit(maze, cell), things.get(cell), open_ways.get(cell, ())) for cell in (*rooms, *CORNERS)
        }
        return Lesson(maze, tuple(turns), cells)


def _exit(maze: Labyrinth, cell: Cell) -> str:
    """Return the colour of the exit that a room leads to."""
    return maze.exits[CORNERS.index(maze.way(cell)[1])]


def _open(rng: np.random.Generator, ways: tuple[bool, ...]) -> Turn:
    """Ask whether the circle has a way: yes as often as no, whatever the direction (a start has at least one door)."""
    answer = pick(rng, [name for name, is_open in (("yes", True), ("no", False)) if is_open in ways])
    move = pick(rng, [move for move, is_open in zip(MOVES, ways, strict=True) if is_open == (answer == "yes")])
    return turn(rng, "open", f"Can the circle go {move}?", answer, ("yes", "no"))


def _open_from(rng: np.random.Generator, ways: dict[Cell, tuple[bool, ...]]) -> Turn:
    """Ask whether a room has a way: yes as often as no, whatever the direction."""
    answer, direction = pick(rng, ("yes", "no")), int(rng.integers(len(MOVES)))
    rooms = [cell for cell in INNER if ways[cell][direction] == (answer == "yes")]
    column, row = rooms[int(rng.integers(len(rooms)))]
    return turn(rng, "open-from", f"Can column {column} row {row} go {MOVES[direction]}?", answer, ("yes", "no"))


MAZE = MazeTeacher(name="maze", exits=4, ways=(1, 0))
WAY = MazeTeacher(name="way", exits=1, ways=(3, 7))
