"""Tasks on scenes of scattered objects: visual search, relative position and sequential crops."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, final

import numpy as np

from jepa_vlm.playground.canvas import GRID
from jepa_vlm.playground.scene import Scene, choices, pick, scatter
from jepa_vlm.playground.task import Action, Difficulty, Episode, Task
from jepa_vlm.playground.tools import crop_call
from jepa_vlm.playground.vocabulary import COLORS, DIRECTIONS, LETTERS, SHAPES


@final
class VisualSearch(Task):
    """ "What color is the ring?", or "What shape is the red object?", where exactly one object is a ring, or red."""

    name: ClassVar[str] = "visual-search"

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> Episode:
        """Return one episode with one crop."""
        color, shape = pick(rng, COLORS), pick(rng, SHAPES)
        if rng.random() < 0.5:
            question, named, answer, values = f"What color is the {shape}?", shape, color, COLORS
            scene = scatter(rng, difficulty, pinned=[(color, shape)], shapes=[s for s in SHAPES if s != shape])
        else:
            question, named, answer, values = f"What shape is the {color} object?", f"{color} object", shape, SHAPES
            scene = scatter(rng, difficulty, pinned=[(color, shape)], colors=[c for c in COLORS if c != color])
        target = scene.things[0]
        options, index = choices(rng, answer, values)
        look = Action(f"The {named} is at {target.place}.", crop_call(*target.cell))
        return Episode(self.name, scene, question, options, index, (look,))


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


@final
class SequentialCrops(Task):
    """ "Which of these is a ring?", with four colours of which each has one object.

    The expert crops in the order of the options and stops at the ring. After three misses it is the fourth object.
    """

    name: ClassVar[str] = "sequential-crops"
    difficulty: ClassVar[Difficulty] = Difficulty(size=(8, 12), objects=(24, 30))

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> Episode:
        """Return one episode with one to three crops."""
        colors = [COLORS[at] for at in rng.permutation(len(COLORS))]
        options, others = tuple(colors[: len(LETTERS)]), colors[len(LETTERS) :]
        shape, index = pick(rng, SHAPES), int(rng.integers(len(LETTERS)))
        wrong = [other for other in SHAPES if other != shape]
        pinned = [(color, shape if i == index else pick(rng, wrong)) for i, color in enumerate(options)]
        scene = scatter(rng, difficulty, pinned=pinned, colors=others)
        actions, seen = [], ""
        for thing in scene.things[: min(index + 1, len(LETTERS) - 1)]:
            text = f"{seen}The {thing.color} one is at {thing.place}."
            actions.append(Action(text, crop_call(*thing.cell)))
            seen = f"It is a {thing.shape}. "
        return Episode(self.name, scene, f"Which of these is a {shape}?", options, index, tuple(actions))
