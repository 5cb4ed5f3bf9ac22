"""Elementwise distances by hand."""

from __future__ import annotations

import pytest
import torch

from jepa_vlm.contrib.covt import MeanLoss


def test_mean_loss_of_both_powers_by_hand():
    answer, target = torch.tensor([[[[0.0, 2.0]]], [[[1.0, 1.0]]]]), torch.tensor([[[[1.0, -1.0]]], [[[1.0, 1.0]]]])
    assert MeanLoss(power=1)(answer, target).tolist() == [2.0, 0.0]
    assert MeanLoss(power=2)(answer, target).tolist() == [5.0, 0.0]
    assert MeanLoss(power=1)(answer.bfloat16(), target.bfloat16()).dtype == torch.float32


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        MeanLoss(power=1)(torch.zeros(2, 1, 4), torch.zeros(2, 4, 1))
    with pytest.raises(ValueError, match="power"):
        MeanLoss(power=3)
