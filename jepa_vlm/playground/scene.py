"""Scenes of small coloured shapes, at most one to a cell of the grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from PIL import Image

from jepa_vlm.playground.canvas import CELL, GRID, lit_canvas, paint, to_image
from jepa_vlm.playground.chance import pick
from jepa_vlm.playground.difficulty import Difficulty
from jepa_vlm.playground.vocabulary import COLORS, SHAPES

Cell = tuple[int, int]  # column and row, counted from 1


@final
@dataclass(frozen=True)
class Thing:
    """One object: what it is, its cell, and its size and place within the cell in pixels."""

    color: str
    shape: str
    cell: Cell
    size: int
    offset: tuple[int, int]

    @property
    def name(self) -> str:
        """Colour and shape, as the texts say it."""
        return f"{self.color} {self.shape}"

    @property
    def place(self) -> str:
        """The cell, as the texts say it."""
        return f"column {self.cell[0]} row {self.cell[1]}"


@final
@dataclass(frozen=True)
class Scene:
    """Objects on a lit canvas."""

    things: tuple[Thing, ...]

    @property
    def key(self) -> str:
        """The discrete content, whatever its order, its sizes or its light: scenes with one key are one scene."""
        return "scene " + ", ".join(sorted(f"{thing.name} {thing.place}" for thing in self.things))

    def draw(self, rng: np.random.Generator) -> Image.Image:
        """Return the picture; ``rng`` sets its light and the shade of its objects."""
        canvas = lit_canvas(rng)
        shades = rng.normal(0, 7, (len(self.things), 3)).astype(np.float32)
        for thing, shade in zip(self.things, shades, strict=True):
            left, top = ((at - 1) * CELL + shift for at, shift in zip(thing.cell, thing.offset, strict=True))
            paint(canvas, thing.shape, thing.color, left, top, thing.size, noise=shade)
        return to_image(canvas)


def scatter(
    rng: np.random.Generator,
    difficulty: Difficulty,
    *,
    pinned: Sequence[tuple[str, str]],
    cells: Sequence[Cell] = (),
    colors: Sequence[str] = COLORS,
    shapes: Sequence[str] = SHAPES,
) -> Scene:
    """Draw a scene that holds given objects and others at random.

    Args:
        rng: Source of chance.
        difficulty: Sizes and counts.
        pinned: (colour, shape) of the objects that must be there; they come first and no other object equals them.
        cells: Cells of the first pinned objects; the others fall anywhere.
        colors: Colours of the other objects.
        shapes: Shapes of the other objects.
    """
    count = max(int(rng.integers(difficulty.objects[0], difficulty.objects[1] + 1)), len(pinned))
    named = list(pinned)
    while len(named) < count:
        other = (pick(rng, colors), pick(rng, shapes))
        if other not in pinned:
            named.append(other)
    free = [
        cell for at in rng.permutation(GRID * GRID).tolist() if (cell := (at % GRID + 1, at // GRID + 1)) not in cells
    ]
    places = [*cells, *free][:count]
    sizes = rng.integers(difficulty.size[0], difficulty.size[1] + 1, count).tolist()
    shifts = (1 + rng.random((count, 2)) * (CELL - 1 - np.asarray(sizes)[:, None])).astype(int).tolist()
    return Scene(
        tuple(
            Thing(color=color, shape=shape, cell=cell, size=size, offset=(x, y))
            for (color, shape), cell, size, (x, y) in zip(named, places, sizes, shifts, strict=True)
        )
    )
