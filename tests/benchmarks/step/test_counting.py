from __future__ import annotations

import doctest

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from benchmarks.step import counting
from benchmarks.step.counting import SavedBytes, Traffic


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_matrix_product_reads_two_matrices_and_writes_one(device):
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


def test_the_backward_pass_is_counted_too():
    x = torch.ones(10, requires_grad=True)
    with Traffic() as forward:
        y = x.exp().sum()
    with Traffic() as backward:
        y.backward()
    assert forward.operations == 2
    assert backward.operations >= 2


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_storage_counts_once_and_whole(device):
    x = torch.ones(10, 10, device=device, requires_grad=True)
    with SavedBytes([x]) as saved:
        y = x.exp()  # holds y
        _ = y[:2] * y[2:4]  # holds two views of it
    assert saved.total == 400


def test_weights_that_live_anyway_are_not_counted():
    layer, x = torch.nn.Linear(4, 3, bias=False), torch.ones(5, 4, requires_grad=True)
    for alive, held in (([layer.weight, x], 0), ([layer.weight], 80), ([], 128)):
        with SavedBytes(alive) as saved:
            layer(x)
        assert saved.total == held


def test_a_checkpoint_holds_its_input_alone():
    x = torch.ones(10, requires_grad=True)
    with SavedBytes() as saved:
        checkpoint(lambda t: t.exp().exp().exp(), x, use_reentrant=False)
    assert saved.total == 40


def test_no_activation_is_held_without_gradient():
    with SavedBytes() as saved, torch.no_grad():
        torch.ones(10, requires_grad=True).exp()
    assert saved.total == 0


def test_docstring_examples_of_counting_are_true():
    done = doctest.testmod(counting, extraglobs={"torch": torch})
    assert done.attempted >= 4
    assert done.failed == 0
