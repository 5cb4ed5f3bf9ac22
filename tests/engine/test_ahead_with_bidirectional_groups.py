"""Packed sequences joined over a window keep the bidirectional groups of Gemma 3 and PaliGemma."""

from __future__ import annotations

import pytest
import torch

from jepa_vlm.conformance import Subject
from jepa_vlm.engine import join
from jepa_vlm.latent_vlm import LatentVLM
from tests.engine.test_ahead import OBJECTIVES, gradients, window

SHARED = "views that share a prefix"


@pytest.fixture(scope="module", params=["tiny-random-gemma3", "tiny-random-paligemma"])
def subject(request: pytest.FixtureRequest) -> Subject:
    return Subject.load(request.param, torch.float64)


def made(subject: Subject, name: str) -> LatentVLM:
    model = LatentVLM(subject.backbone, OBJECTIVES[name]())
    for average in model.target_weights.buffers():
        average.mul_(0.5)
    return model


def furthest(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    assert found.keys() == expected.keys()
    return max(float((found[name] - value).norm() / value.norm()) for name, value in expected.items())


@pytest.mark.parametrize(("name", "seed"), [("pearl", 0), ("frozen and ema", 1), (SHARED, 2), (SHARED, 3)])
def test_gradients_of_a_window_are_the_same_with_bidirectional_groups(subject: Subject, name: str, seed: int) -> None:
    model = made(subject, name)
    batches = window(model, (2, 1, 2), seed=seed)
    with subject.exact():
        ready = model.run_ahead(batches)
        assert all(batch.ahead is not None for batch in ready)
        assert furthest(gradients(model, ready), gradients(model, batches)) < 1e-9


def test_lost_bidirectional_groups_are_detected(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(subject, SHARED)
    batches = window(model, (1, 1), seed=4)
    monkeypatch.setattr(join, "join_groups", lambda spans: torch.cat([torch.full_like(row, -1) for row, _ in spans]))
    with subject.exact():
        assert furthest(gradients(model, model.run_ahead(batches)), gradients(model, batches)) > 1e-6
