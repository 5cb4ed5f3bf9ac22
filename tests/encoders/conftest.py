"""Fixtures for the engines."""

from __future__ import annotations

import pytest

from jepa_vlm.encoders import varlen
from tests.encoders.kernel import Kernel


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """Let the engine take the kernel's path, with the stand-in in the kernel's place."""
    found = Kernel()
    monkeypatch.setattr(varlen, "can_run", lambda query, dropout: dropout == 0)
    monkeypatch.setattr(varlen, "varlen_attn", found)
    return found
