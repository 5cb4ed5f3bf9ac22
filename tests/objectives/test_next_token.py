"""The token loss is a mean over tokens, or over examples."""

from __future__ import annotations

import pytest
import torch

import jepa_vlm as jv
from jepa_vlm.states import Head, RegionStates, States


def test_the_next_token_loss_as_a_mean_over_examples_by_hand():
    term = jv.NextToken(mean="examples")
    (request,) = term.requests()
    hidden = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0], [0.0, 0.0]]).double().requires_grad_()
    labels, document = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 2, 2, 2])  # the second example trains no token
    head = Head(torch.eye(2).double())
    value = term(States({}, {request: RegionStates(hidden, labels, document, hidden)}, head))
    losses = torch.tensor([1.0, 1 + torch.tensor(-3.0).exp(), 1 + torch.tensor(3.0).exp(), 1.0]).log()
    losses[[0, 3]] = torch.tensor(2.0).log()
    torch.testing.assert_close(value.each.float(), losses / torch.tensor([1, 3, 3, 3]))
    torch.testing.assert_close(value.total, value.each.sum())
    value.total.backward()
    torch.testing.assert_close(hidden.grad[0], torch.tensor([-0.5, 0.5]).double())
    torch.testing.assert_close(hidden.grad[3], torch.tensor([0.5, -0.5]).double() / 3)


@pytest.mark.usefixtures("pure_float64")
def test_the_next_token_loss_is_the_mean_of_the_losses_of_examples_alone():
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl", dtype="float64")
    trajectories = jv.playground.trajectories("sequential-crops", count=4)
    found = {}
    for mean in ("tokens", "examples"):
        model = jv.LatentVLM(backbone, jv.NextToken(mean=mean))
        collate = model.collator()
        together = model(collate(trajectories))
        assert together.counts["next_token"] == (4 if mean == "examples" else together.counts["next_token"])
        found[mean] = together.total, torch.stack([model(collate([each])).total for each in trajectories]).mean()
    torch.testing.assert_close(*found["examples"], rtol=1e-12, atol=0)
    assert (found["tokens"][0] - found["tokens"][1]).abs() > 1e-6


def test_an_unknown_mean_of_the_next_token_loss_is_refused():
    with pytest.raises(ValueError, match="'tokens' or 'examples'"):
        jv.NextToken(mean="turns")
