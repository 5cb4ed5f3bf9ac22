from __future__ import annotations

import pytest
from PIL import Image

from jepa_vlm.trajectories import Box, LazyImage, MultipleChoice, Step, ToolCall, Trajectory
from tests.pages import EVIL, Page


@pytest.fixture
def page():
    return Page


@pytest.fixture
def evil():
    return EVIL


def image(size=(32, 16), color="white") -> LazyImage:
    return LazyImage(pixels=Image.new("RGB", size, color))


@pytest.fixture
def trajectory():
    crop = ToolCall("crop", {"column": 2}, box=Box(4, 2, 12, 10, relative=False), image=0)
    return Trajectory(
        id="item-0",
        images=(image(),),
        question=f"What is it? {EVIL}",
        steps=(Step(f"I look {EVIL}", crop, image((8, 8)), observation=f"here {EVIL}"), Step("A")),
        answer="A",
        task=f"search {EVIL}",
    )


@pytest.fixture
def item():
    return MultipleChoice(
        id="item-0", images=(image(),), prompt=f"What is it? {EVIL}", options=("x", "y"), answer=0, task="search"
    )
