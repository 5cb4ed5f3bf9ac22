"""Fixtures for the engines."""

from __future__ import annotations

import pytest

from jepa_vlm.engine import attention
from tests.engine.kernel import Kernel


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """Let the engine take the kernel's path, with the stand-in in the kernel's place."""
    found = Kernel()
    monkeypatch.setattr(attention, "kernel_runs", lambda query, dropout: dropout == 0)
    monkeypatch.setattr(attention, "varlen_attn", found)
    return found
