from __future__ import annotations

import math

import pytest
import torch

from jepa_vlm.losses import InfoNCELoss


def test_two_orthogonal_pairs():
    # logits [[1, 0], [0, 1]]: -log(e / (e + 1))
    want = torch.full((2,), math.log(1 + math.exp(-1)))
    torch.testing.assert_close(InfoNCELoss(temperature=1.0)(3 * torch.eye(2), torch.eye(2)), want)


def test_temperature_sharpens():
    want = torch.full((2,), math.log(1 + math.exp(-2)))
    torch.testing.assert_close(InfoNCELoss(temperature=0.5)(torch.eye(2), torch.eye(2)), want)


def test_symmetric_averages_both_directions():
    pred, target = torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    # rows of logits: [1, 1], [0, 0] -> log 2 each.  columns: [1, 0] -> log(1 + 1/e), [1, 0] with own 0 -> log(1 + e)
    forward, back = math.log(2), torch.tensor([math.log(1 + math.exp(-1)), math.log(1 + math.e)])
    torch.testing.assert_close(InfoNCELoss(temperature=1.0)(pred, target), torch.full((2,), forward))
    torch.testing.assert_close(InfoNCELoss(temperature=1.0, symmetric=True)(pred, target), (forward + back) / 2)


def test_a_batch_of_one_gives_zero():
    assert InfoNCELoss()(torch.ones(1, 4), -torch.ones(1, 4)).item() == 0


def test_it_says_that_it_looks_across_the_batch():
    assert InfoNCELoss.across_batch
    assert "exempt" in InfoNCELoss.__doc__


def test_temperature_must_be_positive():
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        InfoNCELoss(temperature=0.0)
