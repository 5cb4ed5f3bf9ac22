"""One tiny setting for all tests of the suite."""

from __future__ import annotations

import pytest
import torch

from benchmarks.mixes import make_trajectories
from benchmarks.shapes import SHAPES, build_backbone
from benchmarks.step.training_step import Setting
from jepa_vlm.serialization import Serializer


@pytest.fixture(scope="session")
def backbone():
    return build_backbone(SHAPES["tiny"], device=torch.device("cpu"), dtype=torch.float32)


@pytest.fixture(scope="session")
def serializer(backbone):
    return Serializer(processor=backbone.processor, adapter=backbone.adapter)


@pytest.fixture(scope="session")
def exact_setting(serializer):
    """The same in float64, for steps that must be equal."""
    backbone = build_backbone(SHAPES["tiny"], device=torch.device("cpu"), dtype=torch.float64)
    trajectories = make_trajectories("lvr", serializer=serializer, count=2, scale=1 / 3)
    return Setting(backbone=backbone, trajectories=trajectories)


@pytest.fixture(scope="session")
def setting(backbone, serializer):
    trajectories = make_trajectories("lvr", serializer=serializer, count=2, scale=1 / 3)
    return Setting(backbone=backbone, trajectories=trajectories)


class FakeClock:
    """A clock that only goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def read(self) -> float:
        return self.now

    def between(self, first: float, second: float) -> float:
        return second - first


@pytest.fixture
def clock():
    return FakeClock()
