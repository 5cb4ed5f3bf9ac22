"""The tokens of an image, and those that a box touches, by hand."""

from __future__ import annotations

import pytest

from jepa_vlm.adapters import ImageTokens
from jepa_vlm.adapters.image_tokens import region_rows
from jepa_vlm.errors import BackboneError, DataError
from jepa_vlm.trajectories import Box

SIZE = (80, 60)
TOKENS = ImageTokens("<i>", (12,), grid=(1, 6, 8))  # 6 x 8 patches, merged two by two: 3 rows of 4 tokens


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ((0, 0, 1, 1), list(range(12))),
        ((0, 0, 0.25, 1 / 3), [0]),  # two patches by two: one token
        ((0.1, 0, 0.26, 1 / 3), [0, 1]),  # patches 0 to 2: tokens 0 and 1
        ((0.13, 0.2, 0.24, 0.3), [0]),  # inside one token
        ((0.9, 0.9, 1, 1), [11]),
        ((0.3, 0.4, 0.7, 0.6), [5, 6]),  # row-major: the middle row, columns 1 and 2
        ((0.3, 0.3, 0.7, 0.6), [1, 2, 5, 6]),
        ((0.25, 1 / 3, 0.5, 2 / 3), [5]),  # every edge on a line of the grid
    ],
)
def test_box_edges_are_widened_to_whole_tokens(edges, expected):
    assert region_rows(Box(*edges, relative=True), SIZE, TOKENS) == expected
    left, top, right, bottom = edges
    pixels = Box(left * 80, top * 60, right * 80, bottom * 60, relative=False)
    assert region_rows(pixels, SIZE, TOKENS) == expected


def test_a_box_edge_that_exceeds_a_token_border_by_rounding_lies_on_it():
    ten = ImageTokens("<i>", (10,), grid=(1, 2, 20))
    assert 0.1 * 3 * 10 > 3
    assert region_rows(Box(0.0, 0.0, 0.1 * 3, 1.0, relative=True), SIZE, ten) == [0, 1, 2]


def test_boxes_beyond_the_image_and_families_without_a_grid_are_refused():
    with pytest.raises(DataError, match="reaches beyond its image of 80 x 60"):
        region_rows(Box(0, 0, 81, 60, relative=False), SIZE, TOKENS)
    with pytest.raises(BackboneError, match="recipe mirage"):
        region_rows(Box(0, 0, 1, 1, relative=True), SIZE, ImageTokens("<i>", (12,)))


def test_runs_of_image_tokens_are_shortened_to_one_token_each():
    image = ImageTokens.of("<a><i><i><i>\n<b><i><i>", "<i>")
    assert image.text == "<a><i>\n<b><i>"
    assert image.runs == (3, 2)
    assert image.length == 5
