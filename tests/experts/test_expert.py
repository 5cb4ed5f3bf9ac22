"""An expert is made of parts of the right kind."""

from __future__ import annotations

import pytest
import torch

from jepa_vlm.experts import Expert, MeanLoss, PadHead, true_depth
from jepa_vlm.views import Pads


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
def test_parts_of_another_kind_are_refused(changed):
    with pytest.raises(ValueError, match=f"{next(iter(changed))} must be"):
        Expert(**parts(**changed))


def test_a_weight_is_positive_and_pads_are_some():
    for name in ("weight", "rate"):
        with pytest.raises(ValueError, match=name):
            Expert(**parts(**{name: 0}))
    with pytest.raises(ValueError, match="at least 1"):
        Pads("<|x|>", 0)


def test_the_target_is_no_module():
    expert = true_depth()
    expert.head.setup(4, torch.Generator().manual_seed(0))
    assert all(name.startswith("head.") for name in expert.state_dict())
