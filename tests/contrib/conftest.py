"""The entry points of this checkout's pyproject.toml, whatever an earlier install of the package declared."""

from __future__ import annotations

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from jepa_vlm import plugins

PROJECT = Path(__file__).resolve().parents[2]


def declared(group: str) -> list[EntryPoint]:
    """The entry points that pyproject.toml declares in a group."""
    table = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    return [EntryPoint(name, value, group) for name, value in table.get(group, {}).items()]


@pytest.fixture(autouse=True)
def _declared_entry_points(monkeypatch):
    monkeypatch.setattr(plugins, "entry_points", lambda *, group: declared(group))
