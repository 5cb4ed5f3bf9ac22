from __future__ import annotations

import doctest

import pytest
import torch

from jepa_vlm.cost import Traffic, traffic


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_product_reads_two_matrices_and_writes_one(device):
    left, right = torch.ones(2, 3, device=device), torch.ones(3, 5, device=device)
    with Traffic() as counted:
        left @ right
    assert (counted.operations, counted.bytes) == (1, 4 * (6 + 15 + 10))


def test_views_and_uninitialised_tensors_cost_nothing():
    x = torch.ones(6)
    with Traffic() as counted:
        x.view(2, 3).T.unsqueeze(0).expand(4, 3, 2)
        torch.empty(100)
        torch.empty_like(x)
    assert (counted.operations, counted.bytes) == (0, 0)


def test_going_back_counts_too():
    x = torch.ones(10, requires_grad=True)
    with Traffic() as forward:
        y = x.exp().sum()
    with Traffic() as backward:
        y.backward()
    assert forward.operations == 2
    assert backward.operations >= 2


def test_its_example_is_true():
    assert doctest.testmod(traffic, extraglobs={"torch": torch}).failed == 0
