"""Pixels: a lit canvas, and anti-aliased shapes on it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CELL = 16  # side of a cell in pixels; one merged vision token of the tiny backbones
GRID = 7  # number of cells on a side of the picture
SIDE = CELL * GRID
_SUPERSAMPLING = 4

RGB = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (40, 70, 220),
    "yellow": (235, 205, 30),
    "purple": (150, 50, 180),
    "orange": (245, 140, 30),
    "cyan": (50, 200, 210),
    "black": (20, 20, 20),
}

Pixels = NDArray[np.float32]


def lit_canvas(rng: np.random.Generator) -> Pixels:
    """Return a light background, (side, side, 3) in [0, 255], whose red grows with x and whose blue grows with y.

    The vision tower knows relative positions only; the ramp lets it tell where a token lies.
    """
    ramp = np.linspace(-26, 26, SIDE, dtype=np.float32)
    canvas = np.empty((SIDE, SIDE, 3), np.float32)
    tint = rng.uniform(-3, 3, 3).astype(np.float32)
    canvas[..., 0] = 222 + tint[0] + ramp[None, :]
    canvas[..., 1] = 226 + 4 * tint[1]
    canvas[..., 2] = 222 + tint[2] + ramp[:, None]
    return canvas


def paint(
    canvas: Pixels, shape: str, color: str, left: int, top: int, size: int, *, noise: Pixels | float = 0.0
) -> None:
    """Draw a shape into the canvas, in place; ``noise`` is added to its colour."""
    mask = shape_mask(shape, size)
    region = canvas[top : top + size, left : left + size]
    region += mask * (np.asarray(RGB[color], np.float32) + noise - region)


def to_image(canvas: Pixels) -> Image.Image:
    """Return the canvas as an RGB image."""
    return Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8), "RGB")


@lru_cache(maxsize=512)
def shape_mask(shape: str, size: int) -> Pixels:
    """Return the share of each pixel that a shape covers: (size, size, 1) in [0, 1].

    Raises:
        KeyError: If the shape is unknown.
    """
    centres = (np.arange(size * _SUPERSAMPLING) + 0.5) / (size * _SUPERSAMPLING) * 2 - 1
    x, y = np.meshgrid(centres, centres)
    radius, reach = np.hypot(x, y), np.maximum(abs(x), abs(y))
    inside = {
        "circle": radius < 1,
        "square": reach < 0.9,
        "triangle": (y < 0.9) & (abs(x) < (y + 0.9) / 1.8),
        "cross": np.minimum(abs(x), abs(y)) < 0.3,
        "diamond": abs(x) + abs(y) < 1,
        "ring": (radius < 1) & (radius > 0.55),
        "bar": abs(y) < 0.35,
        "corner": ((x < -0.35) | (y > 0.35)) & (reach < 0.95),
    }[shape]
    covered = inside.reshape(size, _SUPERSAMPLING, size, _SUPERSAMPLING).mean(axis=(1, 3))
    mask: Pixels = covered.astype(np.float32)[..., None]
    mask.flags.writeable = False
    return mask
