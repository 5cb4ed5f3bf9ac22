from __future__ import annotations

import torch

from jepa_vlm.losses import L1Loss


def test_l1_loss_is_the_mean_of_absolute_differences():
    pred, target = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[2.0, -1.0], [0.0, 4.0]])
    torch.testing.assert_close(L1Loss()(pred, target), torch.tensor([2.0, 2.0]))
