"""Each part has its multiple of the learning rate; parts that train next to the adapter are saved and exported."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import jepa_vlm as jv
from jepa_vlm.training import Origin, apply_lora, export, load_weights, save_weights
from tests.training.setting import small_trainer

NAME = "tiny-random-internvl"
RATES = {"language": 1.0, "projector": 0.5, "vision": 0.1}


def model_of(seed: int = 0) -> jv.LatentVLM:
    backbone = jv.load_backbone(NAME, seed=0)
    apply_lora(backbone, jv.Lora(rank=4, alpha=8), seed=seed, train=tuple(RATES))
    return jv.LatentVLM(backbone, jv.load_recipe("pearl").objective)


def test_every_parameter_has_the_learning_rate_of_its_part(tmp_path):
    model = model_of()
    trainer = small_trainer(model, tmp_path, rates=RATES, learning_rate=0.01)
    optimizer = trainer.create_optimizer()
    rate = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    names = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert len(rate) == len(names) == sum(len(group["params"]) for group in optimizer.param_groups)
    for name, parameter in names.items():
        expected = 0.005 if "multi_modal_projector" in name else 0.001 if "vision_tower" in name else 0.01
        assert rate[id(parameter)] == pytest.approx(expected), name


def test_parts_that_train_next_to_the_adapter_are_saved_and_read_back(tmp_path):
    model, other = model_of(), model_of(seed=1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.requires_grad:
                p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(len(name))))
    save_weights(model, tmp_path / "best", Origin(NAME, 0, "float32"))
    load_weights(other, tmp_path / "best")
    for (name, one), two in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two), name
    folder = export(tmp_path / "best", to=tmp_path / "export").folder
    exported = dict(jv.load_backbone(str(folder)).base.named_parameters())
    live = {n: p for n, p in model.backbone.base.named_parameters() if "multi_modal_projector" in n}
    assert live
    for name, parameter in live.items():
        assert torch.equal(exported[name], parameter.detach()), name


def test_learning_rates_are_checked_by_the_recipe():
    recipe = jv.load_recipe("sft")
    assert replace(recipe, rates={"vision": 0.1}).rates == {"vision": 0.1}
    with pytest.raises(ValueError, match=r"language, projector, vision; got 'head'"):
        replace(recipe, rates={"head": 1.0})
    with pytest.raises(ValueError, match="leave it out instead"):
        replace(recipe, rates={"vision": 0.0})
