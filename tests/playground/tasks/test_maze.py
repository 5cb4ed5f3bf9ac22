from __future__ import annotations

import numpy as np

from jepa_vlm.playground import episodes
from jepa_vlm.playground.tasks.maze import CORNERS


def is_wall(pixels, x, y):
    return pixels[y, x].max() < 80


def reached(pixels, start):
    """Rooms that can be reached from a room, found in the picture alone: a way is open where no wall is drawn."""
    found, todo = {start}, [start]
    while todo:
        column, row = todo.pop()
        x, y = column * 16 - 8, row * 16 - 8
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            cell = (column + dx, row + dy)
            crossed = any(is_wall(pixels, x + k * dx, y + k * dy) for k in range(6, 10))
            if 1 <= cell[0] <= 7 and 1 <= cell[1] <= 7 and cell not in found and not crossed:
                found.add(cell)
                todo.append(cell)
    return found


def test_the_walls_leave_one_exit_which_is_the_answer_and_the_path_leads_there():
    shifts = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
    for episode, _ in episodes("maze", count=60):
        maze = episode.picture
        pixels = np.asarray(maze.draw(np.random.default_rng(0)), float)
        rooms = reached(pixels, maze.start)
        exits = [color for corner, color in zip(CORNERS, maze.exits, strict=True) if corner in rooms]
        assert exits == [episode.options[episode.answer]]
        arguments = episode.actions[0].call.arguments
        cell = (arguments["column"], arguments["row"])
        assert cell == maze.start
        for move in arguments["moves"].split():
            cell = (cell[0] + shifts[move][0], cell[1] + shifts[move][1])
            assert cell in rooms
        assert cell in CORNERS
        assert 5 <= len(arguments["moves"].split()) <= 9


def test_exits_differ_and_none_is_black():
    for episode, _ in episodes("maze", count=60):
        assert len(set(episode.picture.exits)) == 4
        assert "black" not in episode.picture.exits
