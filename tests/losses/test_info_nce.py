from __future__ import annotations

import math

import pytest
import torch

from jepa_vlm.losses import InfoNCELoss


def test_info_nce_of_two_orthogonal_pairs_by_hand():
    # logits [[1, 0], [0, 1]]: -log(e / (e + 1))
    want = torch.full((2,), math.log(1 + math.exp(-1)))
    torch.testing.assert_close(InfoNCELoss(temperature=1.0)(3 * torch.eye(2), torch.eye(2)), want)


def test_a_lower_temperature_sharpens_info_nce():
    want = torch.full((2,), math.log(1 + math.exp(-2)))
    torch.testing.assert_close(InfoNCELoss(temperature=0.5)(torch.eye(2), torch.eye(2)), want)


def test_symmetric_info_nce_averages_both_directions():
    pred, target = torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    # rows of logits: [1, 1], [0, 0] -> log 2 each.  columns: [1, 0] -> log(1 + 1/e), [1, 0] with own 0 -> log(1 + e)
    forward, back = math.log(2), torch.tensor([math.log(1 + math.exp(-1)), math.log(1 + math.e)])
    torch.testing.assert_close(InfoNCELoss(temperature=1.0)(pred, target), torch.full((2,), forward))
    torch.testing.assert_close(InfoNCELoss(temperature=1.0, symmetric=True)(pred, target), (forward + back) / 2)


def test_a_temperature_can_be_learned():
    loss = InfoNCELoss(temperature="learned")
    pair = torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    torch.testing.assert_close(loss(*pair), InfoNCELoss(temperature=0.07)(*pair))
    loss(*pair).sum().backward()
    # d/ds of log(1 + exp(-s g)) is -g sigmoid(-s g), g what the own cosine is larger by; s times that for its logarithm
    half, scale = math.sqrt(0.5), 1 / 0.07
    gaps = (1 - half, half)
    slope = -scale * sum(gap / (1 + math.exp(scale * gap)) for gap in gaps)
    assert loss.log_scale.grad.item() == pytest.approx(slope, rel=1e-4)


def test_a_learned_temperature_stays_above_a_hundredth_and_can_come_back():
    loss = InfoNCELoss(temperature="learned")
    with torch.no_grad():
        loss.log_scale.fill_(9.0)
    pair = torch.eye(2), torch.eye(2).flip(0)  # every prediction points at the other's target
    torch.testing.assert_close(loss(*pair), InfoNCELoss(temperature=0.01)(*pair))
    loss(*pair).sum().backward()
    assert loss.log_scale.grad.item() > 1
    assert loss.log_scale.item() == pytest.approx(math.log(100))


def test_info_nce_of_equal_targets_has_a_floor():
    pred = target = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    loss = InfoNCELoss(temperature=0.01, symmetric=True)(pred, target)
    torch.testing.assert_close(loss, torch.tensor([math.log(2), math.log(2), 0.0]))


def test_info_nce_of_a_batch_of_one_is_zero():
    assert InfoNCELoss()(torch.ones(1, 4), -torch.ones(1, 4)).item() == 0


def test_info_nce_states_that_it_reads_the_whole_batch():
    assert InfoNCELoss.across_batch
    assert "exempt" in InfoNCELoss.__doc__


@pytest.mark.parametrize("temperature", [0.0, "learnt"])
def test_temperature_must_be_positive(temperature):
    with pytest.raises(ValueError, match=f"temperature must be positive or 'learned', got {temperature!r}"):
        InfoNCELoss(temperature=temperature)
