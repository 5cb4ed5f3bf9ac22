"""Relative position: where one of two neighbouring small objects lies from the other; one wider crop shows both."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, final

import numpy as np

from jepa_vlm.playground.canvas import GRID
from jepa_vlm.playground.chance import choices, pick
from jepa_vlm.playground.difficulty import Difficulty
from jepa_vlm.playground.scene import Scene, scatter
from jepa_vlm.playground.task import Action, Episode, Task
from jepa_vlm.playground.tools import crop_call
from jepa_vlm.playground.vocabulary import COLORS, DIRECTIONS, SHAPES

_SHIFTS = {"left": (-1, 0), "right": (1, 0), "above": (0, -1), "below": (0, 1)}


@final
class RelativePosition(Task):
    """ "Where is the red circle from the blue ring?" The two are in adjacent cells, alike in size and place."""

    name: ClassVar[str] = "relative-position"

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> Episode:
        """Return one episode with one crop of two by two cells."""
        first = (pick(rng, COLORS), pick(rng, SHAPES))
        while (second := (pick(rng, COLORS), pick(rng, SHAPES))) == first:
            pass
        direction = pick(rng, DIRECTIONS)
        cells = _neighbours(rng, direction)
        scene = scatter(rng, difficulty, pinned=[first, second], cells=cells)
        thing, anchor = scene.things[:2]
        aligned = replace(thing, size=anchor.size, offset=anchor.offset)
        scene = Scene((aligned, *scene.things[1:]))
        column, row = (min(a, b, GRID - 1) for a, b in zip(*cells, strict=True))
        options, index = choices(rng, direction, DIRECTIONS)
        look = Action(f"Both are at column {column} row {row}.", crop_call(column, row, cells=2))
        question = f"Where is the {thing.name} from the {anchor.name}?"
        return Episode(self.name, scene, question, options, index, (look,))


def _neighbours(rng: np.random.Generator, direction: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return two adjacent cells, the first of which lies in the direction from the second."""
    (dx, dy) = _SHIFTS[direction]
    column, row = rng.integers(1, GRID + 1, 2).tolist()
    column, row = min(max(column, 1 - dx), GRID - dx), min(max(row, 1 - dy), GRID - dy)
    return (column + dx, row + dy), (column, row)
