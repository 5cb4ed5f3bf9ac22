from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from jepa_vlm.predictors import MLPPredictor


def ready(dim, **arguments):
    predictor = MLPPredictor(**arguments)
    predictor.setup(dim, torch.Generator().manual_seed(0))
    return predictor


def test_mlp_prediction_by_hand():
    predictor = ready(2, hidden=1)
    first, second = predictor.linears
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, -1.0]]))
        first.bias.fill_(0.5)
        second.weight.copy_(torch.tensor([[2.0], [-3.0]]))
        second.bias.copy_(torch.tensor([0.0, 1.0]))
    middle = F.gelu(torch.tensor(3.0 - 1.0 + 0.5))
    want = torch.stack([2 * middle, 1 - 3 * middle])[None]
    torch.testing.assert_close(predictor(torch.tensor([[3.0, 1.0]])), want)


@pytest.mark.parametrize(
    ("arguments", "shapes"),
    [
        ({}, [(4, 4), (4, 4)]),
        ({"hidden": 6}, [(6, 4), (4, 6)]),
        ({"hidden": 6, "layers": 1}, [(4, 4)]),
        ({"hidden": 6, "layers": 3}, [(6, 4), (6, 6), (4, 6)]),
        ({"out": 3}, [(4, 4), (3, 4)]),
    ],
)
def test_layers_of_the_mlp_have_the_requested_widths(arguments, shapes):
    assert [tuple(linear.weight.shape) for linear in ready(4, **arguments).linears] == shapes


def test_a_prediction_may_have_another_size():
    predictor = ready(4, out=3, layers=1)
    assert predictor(torch.zeros(2, 4)).shape == (2, predictor.width(4)) == (2, 3)


def test_weights_of_the_mlp_lie_within_the_bound():
    weight = ready(100, hidden=7).linears[0].weight
    assert weight.abs().max() <= 0.1
    assert weight.abs().max() > 0.09


def test_arguments_of_the_mlp_predictor_are_checked():
    with pytest.raises(ValueError, match="layers must be at least 1, got 0"):
        MLPPredictor(layers=0)
    with pytest.raises(ValueError, match="hidden must be at least 1, got 0"):
        MLPPredictor(hidden=0)
