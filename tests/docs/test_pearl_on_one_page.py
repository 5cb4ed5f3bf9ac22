"""The loss that is written out on one page is the loss of both engines, value and gradients."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

import jepa_vlm as jv
from jepa_vlm.serialization.template import messages_of
from tests.factories import lora_backbone, pearl_objective

PAGE = Path(__file__).resolve().parents[2] / "docs" / "pearl_on_one_page.py"


def page():
    spec = importlib.util.spec_from_file_location("pearl_on_one_page", PAGE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def gradients(model: jv.LatentVLM, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("engine", ["one_pass", "separate"])
@pytest.mark.parametrize("task", ["sequential-crops", "visual-search"])
def test_the_page_computes_what_the_engines_compute(engine, task, pure_float64):
    backbone = lora_backbone(torch.float64)
    model = jv.LatentVLM(backbone, pearl_objective(), engine=engine).double()
    trajectories = jv.playground.trajectories(task, count=2, seed=0)
    whole = model(model.collator()(trajectories)).total
    expected = gradients(model, whole)
    terms = model.objective.terms
    soft_tokens, next_state = terms["latent_prediction"].predictor.inputs, terms["next_latent"].head
    chats = [(messages_of(one), [image.load() for image in one.all_images]) for one in trajectories]
    found = page().pearl_loss(backbone.base, backbone.processor, soft_tokens, next_state, chats)
    torch.testing.assert_close(found, whole, rtol=1e-12, atol=0)
    for name, gradient in gradients(model, found).items():
        torch.testing.assert_close(gradient, expected.pop(name), rtol=1e-7, atol=1e-10)
    assert not expected


def test_the_page_is_one_page():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 90
    assert not any("jepa_vlm" in line and "import" in line for line in lines)
