"""Reads an HTML page back: its elements must close in order and need nothing outside the page."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

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
