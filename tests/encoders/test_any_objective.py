"""Whatever is composed: ``one_pass`` gives the terms and the accumulated gradient of ``separate``."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import jepa_vlm as jv
from jepa_vlm.latent_vlm import LatentVLM
from tests.encoders.kernel import Kernel
from tests.encoders.random_objectives import Draw
from tests.factories import lora_backbone

SEEDS = range(24)


@pytest.fixture(scope="module")
def backbone() -> jv.Backbone:
    return lora_backbone(torch.float64)


def window(model: LatentVLM, batches: list[list[jv.Trajectory]], *, ahead: bool = False) -> dict[str, Tensor]:
    """Return every term of every micro-batch, and the window's gradient."""
    model.zero_grad()
    made = [model.collator()(batch) for batch in batches]
    for batch in made:
        batch["images"]["pixel_values"] = batch["images"]["pixel_values"].double()
    counts = {name: sum(batch["counts"][name] for batch in made) for name in made[0]["counts"]}
    found: dict[str, Tensor] = {}
    for i, batch in enumerate(model.run_ahead(made) if ahead else made):
        terms = model(batch, counts)
        terms.total.backward()
        found.update({f"{name} of micro-batch {i}": value.detach() for name, value in terms.raw.items()})
    found.update({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    return found


def made(backbone: jv.Backbone, objective: jv.Objective, **options: Any) -> LatentVLM:
    model = LatentVLM(backbone, objective, **options)
    for average in model.target_weights.buffers():
        average.mul_(0.5)  # as if the adapter had moved away from its average
    return model


def differences(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, float]:
    assert found.keys() == expected.keys()
    # What is zero up to rounding has no relative size; it is measured against the median.
    floor = 1e-6 * torch.stack([value.norm() for value in expected.values()]).median()
    return {
        name: float((found[name] - value).norm() / torch.maximum(value.norm(), floor))
        for name, value in expected.items()
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_one_pass_equals_separate(
    seed: int, backbone: jv.Backbone, pure_float64: None, request: pytest.FixtureRequest
) -> None:
    draw = Draw(seed)
    objective, batches = draw.objective(), draw.micro_batches()
    by_kernel, ahead, checkpointing = (draw.number(0, 1) == 1 for _ in range(3))
    expected = window(made(backbone, objective, engine="separate"), batches)
    kernel: Kernel | None = request.getfixturevalue("kernel") if by_kernel else None
    model = made(backbone, objective)
    if checkpointing:
        model.activation_checkpointing_enable()
    try:
        found = window(model, batches, ahead=ahead)
    finally:
        if checkpointing:
            model.activation_checkpointing_disable()
    assert not {name: size for name, size in differences(found, expected).items() if size > 1e-9}, objective
    assert kernel is None or kernel.calls
