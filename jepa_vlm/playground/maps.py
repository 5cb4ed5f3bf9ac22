"""What a scene's picture shows, pixel by pixel, worked out from the scene and not from the picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from jepa_vlm.playground.canvas import CELL, SIDE, shape_mask
from jepa_vlm.playground.scene import Scene
from jepa_vlm.playground.task import Picture
from jepa_vlm.playground.vocabulary import SHAPES

Map = NDArray[np.float32]
HALF = 0.5  # a pixel belongs to what covers at least that much of it


def truth_of(picture: Picture) -> Callable[[], Mapping[str, Map]] | None:
    """Return what computes a picture's maps when they are wanted, or None: mazes, charts and puzzles have none."""
    return partial(scene_maps, picture) if isinstance(picture, Scene) else None


def scene_maps(scene: Scene) -> dict[str, Map]:
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
        region[shape_mask(thing.shape, thing.size)[..., 0] >= HALF] = number
    sizes = np.array([*(thing.size / CELL for thing in scene.things), 0.0], np.float32)
    kinds = np.array([*(SHAPES.index(thing.shape) for thing in scene.things), -1])
    edges = np.zeros((SIDE, SIDE), np.float32)
    edges[:, :-1][owner[:, :-1] != owner[:, 1:]] = 1
    edges[:-1][owner[:-1] != owner[1:]] = 1
    masks = (kinds[owner] == np.arange(len(SHAPES))[:, None, None]).astype(np.float32)
    return {"depth": sizes[owner][None], "edges": edges[None], "segmentation": masks}
