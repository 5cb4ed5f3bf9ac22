from __future__ import annotations

import itertools

import numpy as np
import pytest

from jepa_vlm.playground.canvas import RGB, lit_canvas, paint, shape_mask, to_image
from jepa_vlm.playground.vocabulary import COLORS, SHAPES


def test_the_background_brightness_encodes_the_position_of_a_pixel():
    canvas = lit_canvas(np.random.default_rng(0))
    assert (np.diff(canvas[..., 0], axis=1) > 0).all()
    assert (np.diff(canvas[..., 2], axis=0) > 0).all()
    assert (canvas >= 0).all()
    assert (canvas <= 255).all()


@pytest.mark.parametrize("size", [6, 8, 14])
def test_shapes_differ_from_each_other(size):
    masks = {shape: shape_mask(shape, size) for shape in SHAPES}
    for one, other in itertools.combinations(SHAPES, 2):
        assert np.abs(masks[one] - masks[other]).mean() > 0.05, (one, other)


def test_colors_differ_from_each_other_and_from_the_light():
    assert set(RGB) == set(COLORS)
    for one, other in itertools.combinations(RGB.values(), 2):
        assert np.abs(np.subtract(one, other)).max() > 60
    assert all(min(color) < 130 for color in RGB.values())


def test_painting_stays_in_its_square():
    canvas = lit_canvas(np.random.default_rng(0))
    before = canvas.copy()
    paint(canvas, "square", "red", 10, 20, 8)
    changed = np.argwhere((canvas != before).any(-1))
    assert changed.min(0).tolist() >= [20, 10]
    assert changed.max(0).tolist() <= [27, 17]
    assert to_image(canvas).getpixel((14, 24)) == RGB["red"]
