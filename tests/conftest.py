"""Fixtures for the whole suite."""

from __future__ import annotations

import gc
import os

# Before torch: the models are tiny, and threads of several test processes only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl

from jepa_vlm import plugins
from tests.entry_points import declared


def pytest_collection_finish() -> None:
    """Leave what is imported by now out of garbage collections: the trainer collects in full at its beginning."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _entry_points_of_this_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show the command line what pyproject.toml declares now, whatever the installed version declared."""
    monkeypatch.setattr(plugins, "entry_points", declared)


@pytest.fixture
def pure_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lift the casts to float32 inside stock modules, so that a comparison in float64 is a proof."""

    def norm(self: torch.nn.Module, hidden: torch.Tensor) -> torch.Tensor:
        return self.weight * hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)

    def rotary(q: torch.Tensor, k: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> tuple[torch.Tensor, ...]:
        turn = modeling_qwen2_5_vl.rotate_half
        cos, sin = cos.unsqueeze(-2), sin.unsqueeze(-2)
        return tuple(t * cos.to(t.dtype) + turn(t) * sin.to(t.dtype) for t in (q, k))

    monkeypatch.setattr(modeling_qwen2_5_vl.Qwen2_5_VLRMSNorm, "forward", norm)
    monkeypatch.setattr(modeling_qwen2_5_vl, "apply_rotary_pos_emb_vision", rotary)
