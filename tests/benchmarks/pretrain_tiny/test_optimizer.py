"""The iteration in bfloat16 is torch's own, and in float32 it makes matrices about orthogonal."""

import pytest
import torch

from benchmarks.pretrain_tiny.optimizer import Muon, orthogonal


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (5, 5)])
def test_in_bfloat16_it_is_that_of_torch(shape):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=generator)
    own, stock = start.clone().requires_grad_(), start.clone().requires_grad_()
    optimizers = (
        (own, Muon([own], lr=0.03, weight_decay=0.05, dtype=torch.bfloat16)),
        (stock, torch.optim.Muon([stock], lr=0.03, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")),
    )
    for _ in range(3):
        gradient = torch.randn(shape, generator=generator)
        for matrix, optimizer in optimizers:
            matrix.grad = gradient.clone()
            optimizer.step()
    assert not torch.equal(own, start)
    torch.testing.assert_close(own, stock, rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(8, 32), (32, 8)])
def test_singular_values_come_near_to_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonal(matrix))
    assert values.min() > 0.5
    assert values.max() < 1.5
    assert (orthogonal(matrix) * matrix).sum() > 0


def test_a_matrix_without_gradient_stays():
    matrix = torch.ones(2, 3, requires_grad=True)
    Muon([matrix], lr=0.1, weight_decay=0.1, dtype=torch.float32).step()
    assert torch.equal(matrix, torch.ones(2, 3))
