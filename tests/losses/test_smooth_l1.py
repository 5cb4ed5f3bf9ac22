from __future__ import annotations

import pytest
import torch

from jepa_vlm.losses import SmoothL1Loss


def test_smooth_l1_is_quadratic_inside_and_linear_outside():
    target = torch.tensor([[0.5, 0.0, 0.0, 0.0], [3.0, 0.0, 0.0, 1.0]])
    # 0.5 * 0.5^2 = 0.125 over four;  (3 - 0.5) + 0.5 = 3 over four
    torch.testing.assert_close(SmoothL1Loss()(torch.zeros(2, 4), target), torch.tensor([0.03125, 0.75]))


def test_beta_moves_the_crossover():
    # |d| = 1 < 2: 0.5 * 1 / 2
    torch.testing.assert_close(SmoothL1Loss(beta=2.0)(torch.zeros(1, 1), torch.ones(1, 1)), torch.tensor([0.25]))


@pytest.mark.parametrize("beta", [0.0, -1.0, float("nan")])
def test_beta_must_be_positive(beta):
    with pytest.raises(ValueError, match="beta must be positive, got"):
        SmoothL1Loss(beta=beta)


def test_smooth_l1_shows_its_beta():
    assert repr(SmoothL1Loss(beta=0.5)) == "SmoothL1Loss(beta=0.5)"
