"""Dice and cross-entropy by hand and as CoVT's code computes them; a matching that means nothing to the order."""

from __future__ import annotations

import math
import sys

import pytest
import torch

from jepa_vlm.contrib.covt import MaskLoss
from jepa_vlm.errors import JepaVLMError
from tests.contrib.covt.waves import DTYPE, sums, wave


def test_mask_loss_of_two_pixels_by_hand():
    logits, mask = torch.tensor([[[[0.0, math.log(3)]]]]), torch.tensor([[[[0.0, 1.0]]]])  # 0.5 and 0.75 inside
    dice = 2 * 0.75 / (0.5 + 0.75 + 1)
    cross_entropy = (-math.log(0.5) - math.log(0.75)) / 2
    assert MaskLoss()(logits, mask).tolist() == pytest.approx([1 - dice + cross_entropy], abs=1e-6)


# Wakals/CoVT@80a28bf, AnchorLoss.get_sam_token_loss and its gradient, in float64, on the same tensors.
@pytest.mark.parametrize(
    ("answers", "loss", "gradient", "last"),
    [
        (4, 0.8417099560647636, 0.4355868873561461, 0.012940761444577904),  # three of them matched
        (3, 0.966476965542729, 0.45449757979274114, 0.014867159736424017),  # all of them
    ],
)
def test_mask_loss_equals_that_of_covt(answers, loss, gradient, last):
    logits = (3 * wave(1, answers, 4, 5, phase=0.7)).requires_grad_()
    masks = torch.zeros(1, answers, 4, 5, dtype=DTYPE)
    masks[:, :3] = (wave(3, 4, 5, phase=2.2) > 0.2).to(DTYPE)
    found = MaskLoss(match=True)(logits, masks)
    found.sum().backward()
    assert found.item() == pytest.approx(loss, rel=1e-9)
    assert sums([logits])[0] == pytest.approx(gradient, rel=1e-9)
    assert logits.grad[0, -1, -1, -1].item() == pytest.approx(last, rel=1e-9)


def test_matching_makes_the_mask_loss_independent_of_mask_order():
    generator = torch.Generator().manual_seed(0)
    masks = (torch.rand(2, 3, 4, 4, generator=generator) > 0.5).float()
    masks[:, 2] = 0
    logits = (masks * 2 - 1) * 3
    right = MaskLoss()(logits, masks)
    assert (MaskLoss()(logits[:, [1, 0, 2]], masks) > 2 * right).all()
    torch.testing.assert_close(MaskLoss(match=True)(logits[:, [1, 2, 0]], masks), right)


def test_an_example_without_a_mask_adds_nothing():
    logits = torch.ones(2, 2, 2, 2, requires_grad=True)
    masks = torch.stack([torch.zeros(2, 2, 2), torch.ones(2, 2, 2)])
    found = MaskLoss(match=True)(logits, masks)
    assert found[0] == 0
    assert found[1] > 0
    found.sum().backward()
    assert not logits.grad[0].any()


def test_matching_without_its_requirements_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(JepaVLMError, match="eval"):
        MaskLoss(match=True)(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1))


def test_half_precision_is_summed_in_float32_and_a_negative_share_is_refused():
    assert MaskLoss()(torch.zeros(1, 1, 2, 2).half(), torch.ones(1, 1, 2, 2).half()).dtype == torch.float32
    with pytest.raises(ValueError, match="absent"):
        MaskLoss(absent=-1)
