from __future__ import annotations

import torch

from jepa_vlm.losses import MSELoss


def test_mse_loss_is_the_mean_of_squares():
    pred, target = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[2.0, 5.0], [0.0, 4.0]])
    torch.testing.assert_close(MSELoss()(pred, target), torch.tensor([5.0, 8.0]))
