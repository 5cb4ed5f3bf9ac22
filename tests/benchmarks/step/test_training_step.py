"""The running one-pass step does the work of the closed form, and no more."""

from __future__ import annotations

import pytest
import torch

import jepa_vlm as jv
from benchmarks.step.closed_form import example_sizes, pearl_step, sft_step
from jepa_vlm.cost import FlopCounter, Shape
from jepa_vlm.engine import OnePass
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.training import apply_lora
from tests.factories import lora_backbone, pearl_objective, random_batch, seeds

RANK, SLOTS, HORIZON = 4, 4, 2
WITHIN = 0.03


@pytest.fixture(scope="module")
def backbone():
    return lora_backbone(torch.float32, rank=RANK)


def counted(model, batch):
    with FlopCounter() as counter:
        model(batch).total.backward()
    return counter.total


def pearl(backbone, seed, *, horizon=HORIZON, checkpointing=False, **options):
    """Return (counted, closed form) of one Pearl step."""
    model = LatentVLM(backbone, pearl_objective(tokens=SLOTS, horizon=horizon), **options)
    trajectories = random_batch(seed)
    batch = model.collator()(trajectories)
    examples = example_sizes(model, trajectories, horizon=horizon)
    shape, dim = Shape.of(backbone.base.config, lora_rank=RANK), backbone.dim
    widths = (2 * dim, dim, dim, dim)
    closed = pearl_step(shape, examples, slots=SLOTS, next_widths=widths, checkpointing=checkpointing)
    return counted(model, batch), closed.total


@pytest.mark.parametrize("seed", seeds(2, 4))
def test_pearl(backbone, seed):
    count, closed = pearl(backbone, seed)
    assert count == pytest.approx(closed, rel=WITHIN)


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("seed", seeds(1, 4))
def test_pearl_with_checkpointing(seed, horizon):
    backbone = lora_backbone(torch.float32, rank=RANK)
    LatentVLM(backbone, pearl_objective()).activation_checkpointing_enable()
    count, closed = pearl(backbone, seed, horizon=horizon, checkpointing=True)
    assert count == pytest.approx(closed, rel=WITHIN)
    assert count > (1 + WITHIN) * pearl(backbone, seed, horizon=horizon)[1]


@pytest.mark.parametrize("seed", seeds(2, 4))
def test_sft(backbone, seed):
    model, trajectories = LatentVLM(backbone, jv.NextToken()), random_batch(seed)
    batch = model.collator()(trajectories)
    examples = example_sizes(model, trajectories)
    closed = sft_step(Shape.of(backbone.base.config, lora_rank=RANK), examples).total
    assert counted(model, batch) == pytest.approx(closed, rel=WITHIN)


def test_training_in_full():
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl", seed=0)
    apply_lora(backbone, None)
    model, trajectories = LatentVLM(backbone, pearl_objective(tokens=SLOTS)), random_batch(0)
    batch = model.collator()(trajectories)
    dim = backbone.dim
    examples = example_sizes(model, trajectories, horizon=1)
    closed = pearl_step(Shape.of(backbone.base.config), examples, slots=SLOTS, next_widths=(2 * dim, dim, dim, dim))
    assert counted(model, batch) == pytest.approx(closed.total, rel=WITHIN)


def test_a_pass_too_many_is_seen(backbone, monkeypatch):
    once = OnePass.run

    def twice(*args, **kwargs):
        with torch.no_grad():
            once(*args, **kwargs)
        return once(*args, **kwargs)

    monkeypatch.setattr(OnePass, "run", twice)
    count, closed = pearl(backbone, 0)
    assert count > (1 + WITHIN) * closed


@pytest.mark.slow
def test_separate_passes_are_seen(backbone):
    count, closed = pearl(backbone, 0, engine="separate")
    assert count > (1 + WITHIN) * closed


def test_a_gradient_too_few_is_seen(backbone):
    for name, parameter in backbone.model.named_parameters():
        if "lora_" in name and ".layers.0." in name:
            parameter.requires_grad_(False)
    try:
        model = LatentVLM(backbone, jv.NextToken())
        trajectories = random_batch(0)
        batch = model.collator()(trajectories)
        examples = example_sizes(model, trajectories)
        closed = sft_step(Shape.of(backbone.base.config, lora_rank=RANK), examples).total
        assert counted(model, batch) < (1 - WITHIN) * closed
    finally:
        for name, parameter in backbone.model.named_parameters():
            parameter.requires_grad_("lora_" in name)
