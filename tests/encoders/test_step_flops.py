"""The one-pass step costs what the closed form says, both ways; an extra pass would be seen."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import jepa_vlm as jv
from jepa_vlm.cost import ExampleSize, FlopCounter, Shape, pearl_step, sft_step
from jepa_vlm.latent_vlm import LatentVLM
from tests.factories import lora_backbone, pearl_objective, random_trajectory

RANK = 4


def sizes(model: LatentVLM, trajectories: list[jv.Trajectory], horizon: int = 1) -> list[ExampleSize]:
    """Measure the examples by their serialised views."""
    found = []
    for trajectory in trajectories:
        views = model.serialize(trajectory)
        whole, question = views["conversation"], views["question"]
        context = question.readouts["last_token"] + 1
        tokens = int(whole.trajectory.sum())
        found.append(
            ExampleSize(
                context=context,
                rest=len(whole) - context,
                supervised=int((whole.labels != -100).sum()),
                trajectory=tokens,
                next_pairs=sum(min(offset, horizon) for offset in range(tokens)),
                grids=tuple(model.collator().serializer.grids(trajectory)),
            )
        )
    return found


def counted(model: LatentVLM, batch: dict[str, Any], *, extra_pass: bool = False) -> int:
    with FlopCounter() as counter:
        terms = model(batch)
        if extra_pass:
            with torch.no_grad():
                model._states(batch)
        terms.total.backward()
    return counter.total


def trajectories(calls: tuple[int, ...], seed: int) -> list[jv.Trajectory]:
    generator = torch.Generator().manual_seed(seed)
    return [random_trajectory(generator, str(i), calls=count) for i, count in enumerate(calls)]


@pytest.mark.parametrize("calls", [(0, 1), (1, 2, 3), (3, 3, 3, 3)])
@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_pearl_costs_the_closed_form(calls: tuple[int, ...], horizon: int, checkpointing: bool) -> None:
    model = LatentVLM(lora_backbone(rank=RANK), pearl_objective(horizon=horizon))
    examples = trajectories(calls, seed=len(calls))
    if checkpointing:
        model.activation_checkpointing_enable()
    dim = model.backbone.dim
    expected = pearl_step(
        Shape.of(model.config, lora_rank=RANK),
        sizes(model, examples, horizon),
        next_widths=(2 * dim, dim, dim, dim),
        checkpointing=checkpointing,
    ).total
    batch = model.collator()(examples)
    assert counted(model, batch) == pytest.approx(expected, rel=0.03)
    assert counted(model, batch, extra_pass=True) > 1.03 * expected


def test_sft_costs_the_closed_form() -> None:
    model = LatentVLM(lora_backbone(rank=RANK), jv.NextToken())
    examples = trajectories((1, 2), seed=9)
    measured = sizes(LatentVLM(model.backbone, pearl_objective()), examples)
    expected = sft_step(Shape.of(model.config, lora_rank=RANK), measured).total
    assert counted(model, model.collator()(examples)) == pytest.approx(expected, rel=0.03)


def test_separate_passes_cost_far_more() -> None:
    backbone, examples = lora_backbone(rank=RANK), trajectories((1, 2), seed=9)
    cost = {}
    for engine in ("one_pass", "separate"):
        model = LatentVLM(backbone, pearl_objective(), engine=engine)
        cost[engine] = counted(model, model.collator()(examples))
    assert cost["separate"] > 1.5 * cost["one_pass"]
