"""The running one-pass step does the work of the closed form, and no more."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import jepa_vlm as jv
from jepa_vlm.cost import ExampleSize, FlopCounter, Shape, pearl_step, sft_step
from jepa_vlm.encoders import one_pass
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.training import apply_lora
from tests.factories import lora_backbone, pearl_objective, random_batch

RANK, SLOTS, HORIZON = 4, 4, 2
WITHIN = 0.03


@pytest.fixture(scope="module")
def backbone():
    return lora_backbone(torch.float32, rank=RANK)


def counted(model, batch):
    with FlopCounter() as counter:
        model(batch).total.backward()
    return counter.total


def sizes(model, trajectories, *, horizon=0):
    """Lengths read off the serialised views, not off the plan: the plan is what is tested."""
    serializer = model.collator().serializer
    grids = [image.grid for trajectory in trajectories for image in serializer.images(trajectory)]
    examples, place, states = [], 0, 0
    for trajectory in trajectories:
        views = model.serialize(trajectory)
        conversation = views["conversation"]
        supervised = conversation.labels != -100
        read = conversation.trajectory if horizon else supervised.roll(-1)  # a token's state is the one before it
        tokens = last(read) + 1
        context = first(views["question"].slots) if "question" in views else 0
        here, place = grids[place : place + len(trajectory.all_images)], place + len(trajectory.all_images)
        states += int(conversation.trajectory.sum())
        examples.append(
            ExampleSize(
                context=context,
                rest=tokens - context,
                supervised=int(supervised.sum()),
                trajectory=last(views["trajectory"].content) + 1 if "trajectory" in views else 0,
                grids=tuple(here),
            )
        )
    # the next-latent head runs over all examples' states at once, one row less for each step ahead
    rows = sum(states - ahead for ahead in range(1, horizon + 1))
    return [replace(examples[0], next_pairs=rows), *examples[1:]]


def first(mask):
    return int(mask.nonzero()[0])


def last(mask):
    return int(mask.nonzero()[-1])


def pearl(backbone, seed, *, horizon=HORIZON, checkpointing=False, **options):
    """Return (counted, closed form) of one Pearl step."""
    model = LatentVLM(backbone, pearl_objective(tokens=SLOTS, horizon=horizon), **options)
    trajectories = random_batch(seed)
    batch = model.collator()(trajectories)
    examples = sizes(model, trajectories, horizon=horizon)
    shape, dim = Shape.of(backbone.base.config, lora_rank=RANK), backbone.dim
    widths = (2 * dim, dim, dim, dim)
    closed = pearl_step(shape, examples, slots=SLOTS, next_widths=widths, checkpointing=checkpointing)
    return counted(model, batch), closed.total


@pytest.mark.parametrize("seed", range(4))
def test_pearl(backbone, seed):
    count, closed = pearl(backbone, seed)
    assert count == pytest.approx(closed, rel=WITHIN)


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_pearl_with_checkpointing(seed, horizon):
    backbone = lora_backbone(torch.float32, rank=RANK)
    LatentVLM(backbone, pearl_objective()).activation_checkpointing_enable()
    count, closed = pearl(backbone, seed, horizon=horizon, checkpointing=True)
    assert count == pytest.approx(closed, rel=WITHIN)
    assert count > (1 + WITHIN) * pearl(backbone, seed, horizon=horizon)[1]


@pytest.mark.parametrize("seed", range(4))
def test_sft(backbone, seed):
    model, trajectories = LatentVLM(backbone, jv.NextToken()), random_batch(seed)
    batch = model.collator()(trajectories)
    examples = sizes(model, trajectories)
    closed = sft_step(Shape.of(backbone.base.config, lora_rank=RANK), examples).total
    assert counted(model, batch) == pytest.approx(closed, rel=WITHIN)


def test_training_in_full():
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl", seed=0)
    apply_lora(backbone, None)
    model, trajectories = LatentVLM(backbone, pearl_objective(tokens=SLOTS)), random_batch(0)
    batch = model.collator()(trajectories)
    dim = backbone.dim
    examples = sizes(model, trajectories, horizon=1)
    closed = pearl_step(Shape.of(backbone.base.config), examples, slots=SLOTS, next_widths=(2 * dim, dim, dim, dim))
    assert counted(model, batch) == pytest.approx(closed.total, rel=WITHIN)


def test_a_pass_too_many_is_seen(backbone, monkeypatch):
    once = one_pass.run_rows

    def twice(*args, **kwargs):
        with torch.no_grad():
            once(*args, **kwargs)
        return once(*args, **kwargs)

    monkeypatch.setattr(one_pass, "run_rows", twice)
    count, closed = pearl(backbone, 0)
    assert count > (1 + WITHIN) * closed


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
        examples = sizes(model, trajectories)
        closed = sft_step(Shape.of(backbone.base.config, lora_rank=RANK), examples).total
        assert counted(model, batch) < (1 - WITHIN) * closed
    finally:
        for name, parameter in backbone.model.named_parameters():
            parameter.requires_grad_("lora_" in name)
