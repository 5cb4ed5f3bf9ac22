"""Maze lessons: where the circle can go, and which exit can be reached from it and from other rooms."""

from __future__ import annotations

from typing import ClassVar, final

import numpy as np

from jepa_vlm.playground.chance import pick
from jepa_vlm.playground.difficulty import Difficulty
from jepa_vlm.playground.lessons.lesson import Lesson, Teacher, Turn, turn
from jepa_vlm.playground.scene import Cell
from jepa_vlm.playground.tasks.maze import CORNERS, Labyrinth, some_maze, step
from jepa_vlm.playground.vocabulary import MOVES


@final
class MazeTeacher(Teacher):
    """Six questions on one maze. A room shows the colour of the exit that it leads to."""

    name = "maze"
    turns_per_lesson: ClassVar[int] = 6

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> Lesson:
        """Return one lesson."""
        maze = some_maze(rng, difficulty)
        rooms = list(maze.onward)
        turns = [
            turn(rng, "exit", "Which exit can the circle reach?", _exit(maze, maze.start), maze.exits),
            _open(rng, maze),
        ]
        for at in rng.permutation(len(rooms))[: self.turns_per_lesson - len(turns)]:
            question = f"Which exit can column {rooms[at][0]} row {rooms[at][1]} reach?"
            turns.append(turn(rng, "exit-from", question, _exit(maze, rooms[at]), maze.exits))
        things = dict.fromkeys(CORNERS, "square") | {maze.start: "circle"}
        cells = {cell: (_exit(maze, cell), things.get(cell)) for cell in (*rooms, *CORNERS)}
        return Lesson(maze, tuple(turns), cells)


def _exit(maze: Labyrinth, cell: Cell) -> str:
    """Return the colour of the exit that a room leads to."""
    return maze.exits[CORNERS.index(maze.way(cell)[1])]


def _open(rng: np.random.Generator, maze: Labyrinth) -> Turn:
    """Ask whether a way is open: yes as often as no, whatever the direction (a start has at least one door)."""
    doors = maze.doors
    ways: dict[str, list[str]] = {"yes": [], "no": []}
    for move in MOVES:
        ways["yes" if frozenset((maze.start, step(maze.start, move))) in doors else "no"].append(move)
    answer = pick(rng, [name for name in ("yes", "no") if ways[name]])
    return turn(rng, "open", f"Can the circle go {pick(rng, ways[answer])}?", answer, ("yes", "no"))
