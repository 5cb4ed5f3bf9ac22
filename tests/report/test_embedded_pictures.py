from __future__ import annotations

import base64
import io
from dataclasses import replace

import pytest
from PIL import Image

from jepa_vlm.errors import DataError
from jepa_vlm.report.embedded_pictures import COLOURS, page_scale, picture, trajectory_pictures
from jepa_vlm.trajectories import Box, LazyImage


def pixels(shown) -> Image.Image:
    kind, data = shown.uri.split(",")
    assert kind == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


def colour(name: str) -> tuple[int, ...]:
    return tuple(int(name[i : i + 2], 16) for i in (1, 3, 5))


@pytest.mark.parametrize(
    ("sizes", "scale"),
    [([(112, 112), (48, 48)], 3), ([(288, 10)], 1), ([(600, 300)], 1), ([(1280, 640), (10, 10)], 0.5), ([(1, 1)], 288)],
)
def test_images_of_a_page_share_one_scale(sizes, scale):
    assert page_scale([LazyImage(pixels=Image.new("RGB", size)) for size in sizes]) == scale


def test_a_box_is_drawn_on_its_edges():
    shown = pixels(
        picture(Image.new("RGB", (40, 40), "white"), "", scale=2, boxes=[("1", Box(10, 20, 30, 30, relative=False))])
    )
    assert shown.size == (80, 80)
    red = colour(COLOURS[0])
    for x, y in ((20, 50), (59, 50), (40, 40), (40, 59)):  # left, right, top, bottom edge, in page pixels
        assert shown.getpixel((x, y)) == red
    assert shown.getpixel((40, 50)) == (255, 255, 255)  # inside
    assert shown.getpixel((70, 50)) == (255, 255, 255)  # outside


def test_relative_boxes_and_large_images():
    box = Box(0.25, 0.25, 0.75, 0.75, relative=True)
    shown = pixels(picture(Image.new("RGB", (1280, 1280), "white"), "", scale=0.5, boxes=[("1", box)]))
    assert shown.size == (640, 640)
    assert shown.getpixel((160, 300)) == colour(COLOURS[0])


def test_a_box_that_is_less_than_a_pixel_of_the_page_is_a_dot():
    box = Box(4000, 50, 4003, 52, relative=False)
    shown = pixels(picture(Image.new("RGB", (6400, 100), "white"), "", scale=0.1, boxes=[("1", box)]))
    assert shown.getpixel((400, 5)) == colour(COLOURS[0])


def test_boxes_lie_on_the_image_that_the_call_is_about(trajectory):
    first, second = trajectory_pictures(trajectory)
    assert colour(COLOURS[0]) in {value for _, value in pixels(first).getcolors(100_000)}
    assert pixels(second).getcolors() == [(72 * 72, (255, 255, 255))]
    assert (first.caption, second.caption) == ("image 0", "image 1, returned by step 1")
    step = trajectory.steps[0]
    moved = replace(step, call=replace(step.call, image=1, box=Box(1, 1, 5, 5, relative=False)))
    first, second = trajectory_pictures(replace(trajectory, steps=(moved, trajectory.steps[1])))
    assert len(pixels(first).getcolors()) == 1
    assert len(pixels(second).getcolors(100_000)) > 1


def test_a_call_on_an_image_that_is_not_there(trajectory):
    step = trajectory.steps[0]
    lost = replace(trajectory, steps=(replace(step, call=replace(step.call, image=2)), trajectory.steps[1]))
    with pytest.raises(DataError, match=r"step 1 calls 'crop' on image 2, but there are 2 images"):
        trajectory_pictures(lost)


def test_a_box_beyond_its_image():
    with pytest.raises(DataError, match="beyond its 8 x 8 image"):
        picture(Image.new("RGB", (8, 8)), "", scale=1, boxes=[("1", Box(0, 0, 9, 4, relative=False))])
