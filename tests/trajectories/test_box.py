"""Boxes in pixels and fractions, and boxes of files: an unclear unit is refused with the option to set."""

from __future__ import annotations

import io
import json

import pytest
from PIL import Image

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.box import CUT, ROUNDED, Box, Boxes
from jepa_vlm.trajectories.formats.records import WIDENED
from jepa_vlm.trajectories.load import load_trajectories
from tests.trajectories.formats.files import example, write_records

BIG, SMALL = (2000, 1500), (200, 100)


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
def test_pixel_boxes_have_whole_edges_inside_the_image(box, size, pixels):
    assert box.in_pixels(*size) == pixels


@pytest.mark.parametrize("edges", [(3, 0, 3, 5), (4, 0, 3, 5), (0, 5, 3, 5), (0, 6, 3, 5), (float("nan"), 0, 1, 1)])
def test_empty_or_inverted_boxes_are_refused(edges):
    with pytest.raises(DataError, match=r"needs left < right and top < bottom"):
        Box(*edges, relative=False)


def test_negative_box_edges_are_refused():
    with pytest.raises(DataError, match=r"must lie inside its image, got \(-1, 0, 3, 5\)"):
        Box(-1, 0, 3, 5, relative=False)


def test_relative_box_edges_beyond_one_are_refused():
    with pytest.raises(DataError, match=r"edges in \[0, 1\], got \(0, 0, 30, 1\); are these pixels"):
        Box(0, 0, 30, 1, relative=True)


@pytest.mark.parametrize("edges", [(0, 0, 41, 20), (0, 0, 40, 21), (41, 0, 50, 5)])
def test_a_box_beyond_its_image_is_refused(edges):
    with pytest.raises(DataError, match="reaches beyond its 40 x 20 image"):
        Box(*edges, relative=False).in_pixels(40, 20)


@pytest.mark.parametrize(
    ("edges", "size", "unit", "pixels"),
    [
        ([0.2, 0.3, 0.8, 0.9], BIG, "fractions", (400, 450, 1600, 1350)),
        ([0, 0, 1, 1], BIG, "fractions", (0, 0, 2000, 1500)),
        ([0, 0, 1.001, 0.5], BIG, "fractions", (0, 0, 2000, 750)),
        ([500, 500, 1500, 990], BIG, "pixels", (500, 500, 1500, 990)),
        ([500, 500, 2001, 1501], BIG, "pixels", (500, 500, 2000, 1500)),
    ],
)
def test_a_box_whose_file_names_no_unit_is_in_pixels_or_fractions_and_noted(edges, size, unit, pixels):
    box = Boxes(("pixels", "fractions")).read(edges, "x", size)
    assert box.in_pixels(*size) == pixels
    assert (box.relative, box.refusal) == (unit != "pixels", "")
    assert box.notes[0].startswith(f"box read as {unit}; #boxes=")


def test_boxes_in_thousandths_need_the_option():
    with pytest.raises(DataError, match=r"lies outside .*another unit: #boxes=pixels, .* or #boxes=thousandths\?"):
        Boxes(("pixels", "fractions")).read([500, 500, 990, 990], "x", SMALL)
    assert Boxes(("thousandths",)).read([500, 500, 990, 990], "x", SMALL).in_pixels(*SMALL) == (100, 50, 198, 99)


@pytest.mark.parametrize(
    ("unit", "edges"),
    [("pixels", [0.2, 0.3, 0.8, 1.002]), ("fractions", [5, 5, 20, 20]), ("thousandths", [0, 0, 1, 1])],
)
def test_a_box_that_cannot_be_in_the_stated_unit_is_refused_not_clamped(unit, edges):
    with pytest.raises(DataError, match=f"does not fit {unit} of its"):
        Boxes((unit,)).read(edges, "x", SMALL)


@pytest.mark.parametrize(("right", "note"), [(1.0005, ROUNDED), (1.001, ROUNDED), (1.002, CUT), (1.3, CUT)])
def test_box_edges_may_exceed_a_large_image_by_a_thousandth_at_most(right, note):
    box = Boxes(("fractions",)).read([0.25, 0.0, right, 1.0], "x", BIG)
    assert (box.notes, box.right, bool(box.refusal)) == ((note,), 1.0, note == CUT)


def chat(*boxes: list[float]) -> dict[str, object]:
    made = json.dumps(example("pixelreasoner"))
    return json.loads(made.replace("[10, 0, 30, 20]", json.dumps(boxes[0])))


def test_boxes_that_pixel_reasoners_tool_clamps_are_counted(root):
    rows = load_trajectories(write_records("pixelreasoner", root, chat([10, 0, 44, 20]), chat([0.25, 0, 1.0, 1.0])))
    first, second = (one.notes for one in rows)
    assert (first[0][:18], first[1:]) == ("box read as pixels", (CUT,))
    assert second[0].startswith("box read as fractions")


def turned(orientation: int) -> bytes:
    """A PNG that stores 20 x 40 pixels, of which viewers show 40 x 20: red in their left quarter, blue elsewhere."""
    shown = Image.new("RGB", (40, 20), "blue")
    shown.paste("red", (0, 0, 10, 20))
    exif, held = Image.Exif(), io.BytesIO()
    exif[274] = orientation
    back = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}[orientation]
    shown.transpose(back).save(held, format="PNG", exif=exif)
    return held.getvalue()


@pytest.mark.parametrize("orientation", [6, 8])
def test_a_box_is_in_the_picture_as_viewers_show_it(root, orientation):
    (root / "t.png").write_bytes(turned(orientation))
    row = example("lvr") | {"image": ["t.png"], "bboxes": [[0, 0, 0.25, 1]]}
    (one,) = load_trajectories(write_records("lvr", root, row))
    assert one.images[0].size == (40, 20)
    assert one.steps[0].image.load().getcolors() == [(200, (255, 0, 0))]


def test_boxes_for_the_picture_as_it_is_stored_are_refused_with_the_reason(root):
    (root / "t.png").write_bytes(turned(6))
    row = example("viscot") | {"image": "t.png"}
    rows = load_trajectories(write_records("viscot", root, row, row | {"width": 20, "height": 40}))
    assert rows[0].steps[0].image.size == (20, 20)
    with pytest.raises(DataError, match=r"of 20 x 40, but it has 40 x 20 as viewers show it, turned by its EXIF"):
        rows[1]


@pytest.mark.parametrize(
    ("size", "box", "region"),
    [
        ((1000, 400), [0, 100, 1000, 101], (0, 98, 1000, 103)),  # 5 pixels of 1,000, about the box
        ((1000, 400), [0, 0, 1000, 1], (0, 0, 1000, 5)),
        ((1000, 400), [0, 399, 1000, 400], (0, 395, 1000, 400)),
        ((400, 1001), [100, 0, 101, 1001], (98, 0, 104, 1001)),  # 1,001 / 200, rounded up
        ((1000, 400), [0, 100, 1000, 105], None),
        ((1000, 3), [0, 1, 1000, 2], (0, 0, 1000, 3)),  # no more is there
    ],
)
def test_a_thin_crop_is_widened_to_one_in_two_hundred_and_its_box_stays(root, size, box, region):
    Image.new("RGB", size).save(root / "w.png")
    row = example("viscot") | {"image": "w.png", "width": size[0], "height": size[1], "bboxs": [box]}
    spec = write_records("viscot", root, row)
    (as_it_is,), (one,) = load_trajectories(spec), load_trajectories(f"{spec}#bad=clamp")
    asked = as_it_is.steps[0].image.region.in_pixels(*size)
    assert as_it_is.notes == ()
    assert one.notes == ((WIDENED,) if region else ())
    assert one.steps[0].image.region.in_pixels(*size) == (region or asked)
    assert one.steps[0].call == as_it_is.steps[0].call
