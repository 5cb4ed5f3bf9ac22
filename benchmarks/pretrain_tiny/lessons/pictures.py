"""Lessons on charts, mazes and puzzles."""

from __future__ import annotations

from typing import final

import numpy as np
from einops import rearrange

from benchmarks.pretrain_tiny.lessons.lesson import Lesson, Shown, Teacher, Turn, turn
from jepa_vlm.playground.canvas import CELL, GRID, shape_mask
from jepa_vlm.playground.scene import Cell, pick
from jepa_vlm.playground.task import Difficulty
from jepa_vlm.playground.tasks.chart_reading import BASE, LEVEL, LEVELS, Chart, some_chart
from jepa_vlm.playground.tasks.jigsaw import Puzzle, some_puzzle
from jepa_vlm.playground.tasks.maze import CORNERS, Labyrinth, some_maze, step
from jepa_vlm.playground.tools import BOARD, PIECE_COLUMNS, PIECE_ROW
from jepa_vlm.playground.vocabulary import COLORS, MOVES, ORDINALS


@final
class ChartTeacher(Teacher):
    """Six questions on one chart: both extremes, and two bars by colour and by column."""

    name = "chart"
    turns_per_lesson = 6

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> Lesson:
        """Return one lesson."""
        chart = some_chart(rng, difficulty)
        bars = [chart.bars[at] for at in rng.permutation(len(chart.bars))]
        colors = [bar.color for bar in bars]
        ranked = sorted(bars, key=lambda bar: bar.height)
        turns = [
            turn(rng, "tallest", "Which bar is tallest?", ranked[-1].color, colors),
            turn(rng, "shortest", "Which bar is shortest?", ranked[0].color, colors),
        ]
        for bar in bars[:2]:
            turns.append(turn(rng, "height", f"How tall is the {bar.color} bar?", str(bar.height), LEVELS))
            turns.append(turn(rng, "bar-at", f"What color is the bar in column {bar.column}?", bar.color, COLORS))
        return Lesson(chart, tuple(turns), _bars(chart))


def _bars(chart: Chart) -> dict[Cell, Shown]:
    """Return the colour and the height of the bar that covers a cell for at least half of its rows."""
    return {
        (bar.column, row): Shown(bar.color, str(bar.height))
        for bar in chart.bars
        for row in range(1, GRID + 1)
        if min(row * CELL, BASE) - max((row - 1) * CELL, BASE - bar.height * LEVEL) >= CELL // 2
    }


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
