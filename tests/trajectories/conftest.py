"""Fixtures of the tests of trajectories and their formats."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trajectories.formats.files import make_root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with good images and hostile ones; see ``files``."""
    return make_root(tmp_path)
