from __future__ import annotations

import doctest

import pytest
import torch

from jepa_vlm.cost import AliveBytes, alive_bytes


def test_what_is_freed_no_longer_counts():
    outside = torch.ones(100)
    with AliveBytes() as memory:
        first = outside * 2
        second = first.view(10, 10) + 1
        del first
        third = second.exp()
    assert (memory.peak, memory.now, memory.largest) == (800, 800, 400)
    assert third.sum() > 0


def test_a_storage_counts_once_and_views_not_at_all():
    outside = torch.ones(8, 8)
    with AliveBytes() as memory:
        views = [outside.T, outside[0], outside.view(64), outside.add_(1)]
    assert memory.peak == 0
    assert len(views) == 4


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_backward_pass_by_hand(device):
    x, w = (torch.ones(10, 10, device=device, requires_grad=True) for _ in range(2))
    with AliveBytes() as memory:
        y = (x @ w).exp()  # product and result: 800
        assert memory.now == 400  # the product is gone, its exponential is held
        y.sum().backward()
    assert memory.peak == 400 + 4 + 4 + 400 + 400 + 400  # y, sum, its gradient; gradients of y@w, then of x and w
    assert memory.now == 400 + 400 + 400  # y and the two gradients


def test_its_example_is_true():
    assert doctest.testmod(alive_bytes, extraglobs={"torch": torch}).failed == 0
