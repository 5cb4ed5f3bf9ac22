"""The query head equals CoVT's: learned queries attend to normalised projections of the states at expert tokens."""

from __future__ import annotations

import pytest
import torch

from jepa_vlm.contrib.covt import Expert, ExpertTarget, MaskLoss, MeanLoss, Pads, QueryHead, Seen
from jepa_vlm.contrib.covt.expert_heads import rotated
from tests.contrib.covt.waves import DTYPE, filled, sums, wave

DIM = 6


class Given(ExpertTarget):
    """Knows what it is handed."""

    def __init__(self, decode=lambda answer: answer):
        self.decode = decode

    @property
    def inputs(self):
        return len

    def __call__(self, inputs):
        return Seen(inputs, self.decode)


def made(**given):
    head = QueryHead(**{"queries": 5, "width": 8, "heads": 2, **given})
    head.setup(DIM, torch.Generator().manual_seed(0))
    return head.double()


def by_formula(**given):
    head = made(**given)
    filled(head.layers["project"], phase=1.0)
    filled(head.layers["attention"], phase=2.0)
    head.queries.data = wave(*head.queries.shape, phase=3.0)
    return head


def test_dinov2_head_and_loss_are_those_of_covt():
    # Wakals/CoVT@80a28bf, CoVTForConditionalGeneration.forward with DINOv2 alone, in float64, on the same tensors.
    head = by_formula(width=16, heads=8)
    expert = Expert(name="dinov2", pads=Pads("<|x|>", 4), target=Given(), head=head, loss=MeanLoss(power=2), weight=0.5)
    states = wave(2, 4, DIM, phase=0.4).requires_grad_()
    features = torch.cat([wave(1, 5, 16, phase=5.0), wave(1, 5, 16, phase=6.0)])
    loss = expert.weight * expert(states, features).mean()
    loss.backward()
    assert loss.item() == pytest.approx(1.3570418409798766, rel=1e-9)
    assert sums([states])[0] == pytest.approx(0.2303500414688363, rel=1e-9)
    expected = [1.4038315944739497, 0.5722100979481058, 17.02282605035921, 5.77406441050165, 12.63633887893931]
    expected += [1.3352230330060701, 0.0718559689579516]
    own = (*head.layers["project"].parameters(), *head.layers["attention"].parameters(), head.queries)
    assert sums(own) == pytest.approx(expected, rel=1e-9)


def test_sam_head_and_loss_are_those_of_covt():
    # The same with SAM alone; what its decoder makes of a prompt is a linear map by formula.
    maps = 2 * wave(8, 4, 5, phase=0.3)
    target = Given(lambda answer: torch.einsum("bkw,whv->bkhv", answer, maps))
    head = by_formula(queries=3, rotary=True)
    expert = Expert(name="sam", pads=Pads("<|x|>", 3), target=target, head=head, loss=MaskLoss(match=True))
    states = wave(1, 3, DIM, phase=0.1).requires_grad_()
    masks = torch.zeros(1, 3, 4, 5, dtype=DTYPE)
    masks[0, 0, :2, :3], masks[0, 1, 2:, 1:4] = 1, 1
    loss = expert(states, masks).mean()
    loss.backward()
    assert loss.item() == pytest.approx(1.367138106560298, rel=1e-9)
    assert sums([states])[0] == pytest.approx(0.014297090357034664, rel=1e-9)
    expected = [0.055993767132159325, 0.025057032695820217, 0.36540268064589243, 0.12503659629680994]
    expected += [1.6337438517317187, 0.4286060463311727, 0.0011271471547487275]
    own = (*head.layers["project"].parameters(), *head.layers["attention"].parameters(), head.queries)
    assert sums(own) == pytest.approx(expected, rel=1e-9)


def test_rotary_positions_follow_the_index_of_the_expert_token():
    # Wakals/CoVT@80a28bf, apply_rope_custome
    expected = [0.479425538604203, -0.4395351573933103, -0.8546380923456862, -1.0625802359095844, -0.9057338290779301]
    found = rotated(wave(1, 3, DIM, phase=0.5)).flatten()[[0, 6, 9, 12, 17]]
    assert found.tolist() == pytest.approx(expected, rel=1e-9)


def test_equal_states_of_expert_tokens_act_as_one_unless_rotated():
    states = wave(1, 1, DIM, phase=0.1).expand(1, 3, DIM)
    assert made()(states).std(dim=1).max() < 1e-12  # every query has the same answer
    assert made(rotary=True)(states).std(dim=1).max() > 1e-6


def test_weights_of_the_query_head_depend_on_the_generator_alone():
    torch.manual_seed(0)
    one = made().state_dict()
    torch.manual_seed(1)
    assert all(torch.equal(value, one[name]) for name, value in made().state_dict().items())


def test_query_head_arguments_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="heads divide width"):
        QueryHead(queries=2, width=6, heads=4)
    with pytest.raises(RuntimeError, match="setup"):
        QueryHead(queries=2, width=8)(torch.zeros(1, 2, 6))
