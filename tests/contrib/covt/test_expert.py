"""An expert is made of parts of the right kind."""

from __future__ import annotations

import pytest
import torch

import jepa_vlm as jv
from jepa_vlm.contrib.covt import (
    Expert,
    ExpertDistillation,
    MeanLoss,
    PaddedConversation,
    PadHead,
    Pads,
    true_depth,
    true_edges,
)
from tests.training.setting import small_model, small_trainer


def parts(**changed):
    depth = true_depth()
    return {
        "name": "one",
        "pads": depth.pads,
        "target": depth.target,
        "head": depth.head,
        "loss": depth.loss,
        **changed,
    }


@pytest.mark.parametrize(
    "changed", [{"pads": "<|x|>"}, {"target": PadHead(out=1)}, {"head": MeanLoss(power=1)}, {"loss": PadHead(out=1)}]
)
def test_an_expert_refuses_parts_of_another_kind(changed):
    with pytest.raises(ValueError, match=f"{next(iter(changed))} must be"):
        Expert(**parts(**changed))


def test_an_expert_needs_a_positive_weight_and_at_least_one_expert_token():
    for name in ("weight", "rate"):
        with pytest.raises(ValueError, match=name):
            Expert(**parts(**{name: 0}))
    with pytest.raises(ValueError, match="at least 1"):
        Pads("<|x|>", 0)


def test_the_target_of_an_expert_is_no_submodule():
    expert = true_depth()
    expert.head.setup(4, torch.Generator().manual_seed(0))
    assert all(name.startswith("head.") for name in expert.state_dict())


def test_the_head_of_an_expert_has_its_own_learning_rate(tmp_path):
    one, other = true_depth(), true_edges()
    one.rate = 0.2
    view = PaddedConversation(pads=(one.pads, other.pads))
    objective = jv.NextToken() + ExpertDistillation(view=view, experts=[one, other])
    trainer = small_trainer(small_model(objective=objective), tmp_path, learning_rate=0.01)
    rate = {id(p): group["lr"] for group in trainer.create_optimizer().param_groups for p in group["params"]}
    for name, parameter in trainer.model.named_parameters():
        if parameter.requires_grad:
            assert rate[id(parameter)] == pytest.approx(0.002 if ".depth." in name else 0.01), name
