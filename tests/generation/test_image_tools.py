from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from jepa_vlm.generation.image_tools import IMAGE_TOOLS, ToolError, box_in


@pytest.fixture
def image():
    """200 x 100, red left of the middle, blue right of it."""
    made = Image.new("RGB", (200, 100), "red")
    made.paste("blue", (100, 0, 200, 100))
    return made


CROPS = pytest.mark.parametrize("name", ["crop_image", "crop_image_normalized"])


@CROPS
def test_a_crop_is_padded_by_a_tenth_of_the_image_and_clamped(image, name):
    """[80, 20, 120, 60] is padded by 20 and 10 pixels to [60, 10, 140, 70]."""
    crop = IMAGE_TOOLS[name](image, {"bbox_2d": [80, 20, 120, 60]})
    assert crop.size == (80, 60)
    assert (crop.getpixel((39, 0)), crop.getpixel((40, 0))) == ((255, 0, 0), (0, 0, 255))
    assert IMAGE_TOOLS[name](image, {"bbox_2d": [0, 0, 40, 40]}).size == (60, 50)
    assert IMAGE_TOOLS[name](image, {"bbox_2d": [190, 50, 900, 900]}).size == (30, 60)


@CROPS
def test_fractions_and_pixels_are_told_apart_by_their_size(image, name):
    in_fractions = IMAGE_TOOLS[name](image, {"bbox_2d": [0.4, 0.2, 0.6, 0.6]})
    assert in_fractions.tobytes() == IMAGE_TOOLS[name](image, {"bbox_2d": [80, 20, 120, 60]}).tobytes()


@CROPS
def test_the_whole_image_in_fractions_is_not_a_pixel(image, name):
    assert IMAGE_TOOLS[name](image, {"bbox_2d": [0, 0, 1, 1]}).size == (200, 100)
    assert IMAGE_TOOLS[name](image, {"bbox_2d": [0.5, 0.5, 1.0, 1.0]}).size == (120, 60)


@CROPS
@pytest.mark.parametrize(("height", "fits"), [(28, False), (29, True)])
def test_a_crop_must_be_larger_than_28_pixels(name, height, fits):
    low = Image.new("RGB", (300, height))
    if fits:
        assert IMAGE_TOOLS[name](low, {"bbox_2d": [0, 0, 1, 1]}).size == (300, 29)
    else:
        with pytest.raises(ToolError, match="Cropped image is too small: 300x28"):
            IMAGE_TOOLS[name](low, {"bbox_2d": [0, 0, 1, 1]})


@pytest.mark.parametrize("name", ["crop_image", "crop_image_normalized", "highlight", "draw_box"])
@pytest.mark.parametrize(
    ("box", "message"),
    [
        (None, "four finite numbers"),
        ([1, 2, 3], "four finite numbers"),
        ([0, 0, math.nan, 1], "four finite numbers"),
        ([0, 0, math.inf, 1], "four finite numbers"),
        ([0, 0, 10**400, 1], "four finite numbers"),
        ([0, 0, "9", 1], "four finite numbers"),
        ([0, 0, True, 1], "four finite numbers"),
        ("0011", "four finite numbers"),
        ([120, 20, 80, 60], "left <= right"),
        ([300, 20, 400, 60], "lies outside the image, whose size is 200x100"),
        ([-90, -90, -5, -5], "lies outside"),
    ],
)
def test_boxes_that_are_none(image, name, box, message):
    with pytest.raises(ToolError, match=message):
        IMAGE_TOOLS[name](image, {"bbox_2d": box})


def test_box_without_padding_by_hand(image):
    assert box_in(image, {"bbox_2d": [-50, 10, 60.4, 1000]}) == (0, 10, 60, 100)


def test_highlight_keeps_the_box_and_fades_the_rest(image):
    shown = np.asarray(IMAGE_TOOLS["highlight"](image, {"bbox_2d": [80, 20, 120, 60]}))
    original = np.asarray(image)
    assert (shown[20:60, 80:120] == original[20:60, 80:120]).all()
    assert shown[0, 0].tolist() == [255, 191, 191]  # a quarter red, three quarters white
    assert shown[99, 199].tolist() == [191, 191, 255]


def test_draw_box_draws_the_outline_alone():
    image = Image.new("RGB", (100, 50), "white")
    shown = np.asarray(IMAGE_TOOLS["draw_box"](image, {"bbox_2d": [0.2, 0.2, 0.6, 0.8]}))
    red = (shown == (255, 0, 0)).all(axis=-1)
    expected = np.zeros((50, 100), dtype=bool)
    expected[10:40, 20:60] = True
    expected[11:39, 21:59] = False
    assert (red == expected).all()
    assert np.asarray(image).min() == 255  # the picture itself is not drawn into


def test_select_frames_is_refused(image):
    with pytest.raises(ToolError, match=r"`select_frames` from \*\*image\*\* not \*\*video\*\*"):
        IMAGE_TOOLS["select_frames"](image, {"target_frames": [1]})


@pytest.mark.parametrize("name", IMAGE_TOOLS)
def test_signatures_name_what_the_tool_takes(name):
    tool = IMAGE_TOOLS[name]
    function = tool.signature()["function"]
    assert function["name"] == name == tool.name
    assert set(function["parameters"]["required"]) == set(function["parameters"]["properties"])


def test_the_crop_is_offered_in_pixel_reasoners_words():
    assert IMAGE_TOOLS["crop_image_normalized"].signature()["function"] == {
        "name": "crop_image_normalized",
        "description": "Zoom in on the image based on the bounding box coordinates. "
        "It is useful when the object or text in the image is too small to be seen.",
        "parameters": {
            "type": "object",
            "properties": {
                "bbox_2d": {
                    "type": "array",
                    "description": "coordinates for bounding box of the area you want to zoom in. "
                    "Values should be within [0.0,1.0].",
                    "items": {"type": "number"},
                },
                "target_image": {
                    "type": "number",
                    "description": "The index of the image to crop. Index from 1 to the number of images. "
                    "Choose 1 to operate on original image.",
                },
            },
            "required": ["bbox_2d", "target_image"],
        },
    }
