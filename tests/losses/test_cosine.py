from __future__ import annotations

import pytest
import torch

from jepa_vlm.losses import CosineLoss


def test_cosine_loss_of_known_angles():
    pred = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [3.0, 4.0]])
    target = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-7.0, 0.0], [4.0, 3.0]])
    torch.testing.assert_close(CosineLoss()(pred, target), torch.tensor([0.0, 1.0, 2.0, 1 - 24 / 25]))


def test_a_zero_latent_is_orthogonal_to_everything():
    torch.testing.assert_close(CosineLoss()(torch.zeros(1, 2), torch.ones(1, 2)), torch.tensor([1.0]))


def test_eps_must_be_positive():
    with pytest.raises(ValueError, match="eps must be positive, got 0"):
        CosineLoss(eps=0.0)
