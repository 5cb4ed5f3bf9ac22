from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from jepa_vlm.trajectories import Box, LazyImage, MultipleChoice, Step, ToolCall, Trajectory

EVIL = "<script>alert('x')</script>"
VOID = {"meta", "img", "br", "hr"}


class Page(HTMLParser):
    """The elements of a page, and whether they close in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(self.text)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def check_self_contained(self) -> None:
        assert "script" not in {tag for tag, _ in self.elements}
        for _, attributes in self.elements:
            for name, value in attributes.items():
                assert not name.startswith("on")
                if name in ("src", "href", "xlink:href"):
                    assert value.startswith(("data:image/png;base64,", "#"))
        assert not re.search(r"url\((?!#)", self.text)
        assert "@import" not in self.text


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
