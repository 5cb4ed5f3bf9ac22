from __future__ import annotations

import pytest
import torch

from jepa_vlm.errors import UnknownNameError
from jepa_vlm.predictors import GatedPredictor, IdentityPredictor, MLPPredictor
from jepa_vlm.predictors.saved import build_head, describe_head

STATES = [[0.5, -1.0, 2.0], [3.0, 0.25, -0.75]]
# What LVR's own modules return on these states, their parameters filled one by one with sin(1), sin(2), ...
# (VincentLeebang/lvr@637a9f7, src/model/lvr_heads.py: LVRHead(3), LVRHeadGLU(3, 4, "silu")), in float64.
RELEASED = [
    (
        MLPPredictor(norm="layer"),
        [
            [2.2206752227457134, -0.43537061319783055, 1.4243383102054592],
            [3.5440502196260413, -1.8020862591890767, 2.8070397823606603],
        ],
    ),
    (
        GatedPredictor(hidden=4),
        [
            [1.4070209677918226, 0.8173794220344386, -0.30426673997544473],
            [11.282393348693809, -7.589945784597268, 0.8111498588038958],
        ],
    ),
]


@pytest.mark.parametrize(("head", "returned"), RELEASED, ids=["simple", "glu"])
def test_the_gated_predictor_equals_the_head_of_lvr(head, returned):
    head.setup(3, torch.Generator())
    head.double()
    with torch.no_grad():
        for parameter in head.parameters():  # in the same order as theirs
            numbers = torch.arange(1, parameter.numel() + 1, dtype=torch.float64)
            parameter.copy_(numbers.sin().reshape(parameter.shape))
    found = head(torch.tensor(STATES, dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor(returned, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("head", [MLPPredictor(hidden=5, layers=3, norm="layer"), GatedPredictor(hidden=7)])
def test_a_predictor_is_rebuilt_from_its_description(head):
    again = build_head(describe_head(head))
    assert (type(again), again.arguments) == (type(head), head.arguments)
    head.setup(6, torch.Generator())
    again.setup(6, torch.Generator())
    again.load_state_dict(head.state_dict())


def test_only_predictors_that_can_be_rebuilt_are_described():
    with pytest.raises(ValueError, match="must be one of GatedPredictor, MLPPredictor; got IdentityPredictor"):
        describe_head(IdentityPredictor())
    with pytest.raises(UnknownNameError, match="Did you mean 'MLPPredictor'"):
        build_head({"kind": "MLPredictor"})
    with pytest.raises(ValueError, match="hidden must be at least 1, got 0"):
        GatedPredictor(hidden=0)
