from __future__ import annotations

import pytest

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories import Box


@pytest.mark.parametrize(
    ("box", "size", "pixels"),
    [
        (Box(10, 5, 30, 20, relative=False), (40, 20), (10, 5, 30, 20)),
        (Box(0.25, 0.5, 0.75, 1.0, relative=True), (40, 20), (10, 10, 30, 20)),
        (Box(0.0, 0.0, 1.0, 1.0, relative=True), (7, 3), (0, 0, 7, 3)),
        (Box(9.6, 0.4, 10.4, 1.6, relative=False), (40, 20), (10, 0, 11, 2)),  # rounded, one pixel wide at least
        (Box(0.999, 0.999, 1.0, 1.0, relative=True), (10, 10), (9, 9, 10, 10)),  # the last pixel, not one beyond
    ],
)
def test_pixels_are_whole_and_inside(box, size, pixels):
    assert box.in_pixels(*size) == pixels


@pytest.mark.parametrize("edges", [(3, 0, 3, 5), (4, 0, 3, 5), (0, 5, 3, 5), (0, 6, 3, 5), (float("nan"), 0, 1, 1)])
def test_empty_or_inverted_boxes_are_refused(edges):
    with pytest.raises(DataError, match=r"needs left < right and top < bottom"):
        Box(*edges, relative=False)


def test_negative_edges_are_refused():
    with pytest.raises(DataError, match=r"must lie inside its image, got \(-1, 0, 3, 5\)"):
        Box(-1, 0, 3, 5, relative=False)


def test_relative_edges_beyond_one_are_refused():
    with pytest.raises(DataError, match=r"edges in \[0, 1\], got \(0, 0, 30, 1\); are these pixels"):
        Box(0, 0, 30, 1, relative=True)


@pytest.mark.parametrize("edges", [(0, 0, 41, 20), (0, 0, 40, 21), (41, 0, 50, 5)])
def test_a_box_beyond_its_image_is_refused(edges):
    with pytest.raises(DataError, match="reaches beyond its 40 x 20 image"):
        Box(*edges, relative=False).in_pixels(40, 20)
