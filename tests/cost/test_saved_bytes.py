from __future__ import annotations

import doctest

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from jepa_vlm.cost import SavedBytes, saved_bytes


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


def test_nothing_is_held_without_gradient():
    with SavedBytes() as saved, torch.no_grad():
        torch.ones(10, requires_grad=True).exp()
    assert saved.total == 0


def test_its_example_is_true():
    assert doctest.testmod(saved_bytes, extraglobs={"torch": torch}).failed == 0
