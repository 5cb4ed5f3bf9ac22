"""Scenes of small coloured shapes, at most one to a cell of the grid, and what each of their pixels shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jepa_vlm.playground.canvas import CELL, GRID, SIDE, lit_canvas, paint, shape_mask, to_image
from jepa_vlm.playground.task import Difficulty
from jepa_vlm.playground.vocabulary import COLORS, LETTERS, SHAPES

COVERED = 0.5  # share of a pixel that an object must cover to own it
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
        """Colour and shape, as texts name them."""
        return f"{self.color} {self.shape}"

    @property
    def place(self) -> str:
        """The cell, as texts name it."""
        return f"column {self.cell[0]} row {self.cell[1]}"


@final
@dataclass(frozen=True)
class Scene:
    """Objects on a lit canvas."""

    things: tuple[Thing, ...]

    @property
    def key(self) -> str:
        """Colours, shapes and cells, sorted. Sizes, light and the order of the objects are not part of it."""
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
        rng: Random generator.
        difficulty: Ranges of sizes and counts.
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


def pick(rng: np.random.Generator, values: Sequence[str]) -> str:
    """Return one of the values, each as likely."""
    return values[int(rng.integers(len(values)))]


def choices(rng: np.random.Generator, answer: str, others: Sequence[str]) -> tuple[tuple[str, ...], int]:
    """Return up to four distinct options in random order, the answer among them, and its index.

    Args:
        rng: Random generator.
        answer: The right option.
        others: What the wrong options are drawn from; the answer may be among them and is left out.
    """
    wrong = [other for other in others if other != answer]
    order = rng.permutation(len(wrong))[: len(LETTERS) - 1]
    options = [wrong[at] for at in order]
    index = int(rng.integers(len(options) + 1))
    options.insert(index, answer)
    return tuple(options), index


def scene_maps(scene: Scene) -> dict[str, NDArray[np.float32]]:
    """Return a scene's maps, each as high and wide as its picture.

    ``depth`` ("1 height width") is nearness in [0, 1]: the world is flat and no object hides another, so the size of
    an object says how near it is, as a share of a cell; the ground is 0. ``edges`` ("1 height width") is 1 where the
    next pixel to the right or below belongs to something else. ``segmentation`` ("shapes height width") has a mask for
    each shape, in the order of the vocabulary.
    """
    owner = np.full((SIDE, SIDE), -1)
    for number, thing in enumerate(scene.things):
        left, top = ((at - 1) * CELL + shift for at, shift in zip(thing.cell, thing.offset, strict=True))
        region = owner[top : top + thing.size, left : left + thing.size]
        region[shape_mask(thing.shape, thing.size)[..., 0] >= COVERED] = number
    sizes = np.array([*(thing.size / CELL for thing in scene.things), 0.0], np.float32)
    kinds = np.array([*(SHAPES.index(thing.shape) for thing in scene.things), -1])
    edges = np.zeros((SIDE, SIDE), np.float32)
    edges[:, :-1][owner[:, :-1] != owner[:, 1:]] = 1
    edges[:-1][owner[:-1] != owner[1:]] = 1
    masks = (kinds[owner] == np.arange(len(SHAPES))[:, None, None]).astype(np.float32)
    return {"depth": sizes[owner][None], "edges": edges[None], "segmentation": masks}
