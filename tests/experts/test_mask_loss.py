"""Dice and cross-entropy by hand; a matching that means nothing to the order."""

from __future__ import annotations

import math
import sys

import pytest
import torch

from jepa_vlm.errors import JepaVLMError
from jepa_vlm.experts import MaskLoss


def test_one_mask_of_two_pixels_by_hand():
    logits, mask = torch.tensor([[[[0.0, math.log(3)]]]]), torch.tensor([[[[0.0, 1.0]]]])  # 0.5 and 0.75 inside
    dice = (2 * 0.75 + 1) / (0.5 + 0.75 + 1 + 1)
    cross_entropy = (-math.log(0.5) - math.log(0.75)) / 2
    assert MaskLoss()(logits, mask).tolist() == pytest.approx([1 - dice + cross_entropy])


def test_two_empty_masks_agree():
    assert MaskLoss()(torch.full((1, 1, 2, 2), -50.0), torch.zeros(1, 1, 2, 2)).item() == pytest.approx(0.0, abs=1e-6)


def test_matching_undoes_any_order_and_absent_masks_cost_a_tenth():
    generator = torch.Generator().manual_seed(0)
    masks = (torch.rand(2, 3, 4, 4, generator=generator) > 0.5).float()
    logits = (masks * 2 - 1) * 3
    right = MaskLoss()(logits, masks)
    assert (MaskLoss()(logits, masks[:, [1, 2, 0]]) > 2 * right).all()
    torch.testing.assert_close(MaskLoss(match=True)(logits, masks[:, [1, 2, 0]]), right)
    masks[:, 2] = 0
    found = MaskLoss(match=True)(logits[:, [2, 0, 1]], masks)
    near = MaskLoss()(logits[:, :2], masks[:, :2]) * 2 / 3
    far = torch.nn.functional.softplus(logits[:, 2]).mean(dim=(1, 2)) * 0.1 / 3
    torch.testing.assert_close(found, near + far)


def test_without_any_mask_only_empty_answers_are_right():
    loss = MaskLoss(match=True)
    assert loss(torch.full((1, 2, 2, 2), -50.0), torch.zeros(1, 2, 2, 2)).item() == pytest.approx(0.0, abs=1e-6)
    assert loss(torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 2)).item() == pytest.approx(0.1 * math.log(2))


def test_matching_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(JepaVLMError, match="eval"):
        MaskLoss(match=True)(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1))


def test_half_precision_is_summed_in_float32_and_a_negative_share_is_refused():
    assert MaskLoss()(torch.zeros(1, 1, 2, 2).half(), torch.ones(1, 1, 2, 2).half()).dtype == torch.float32
    with pytest.raises(ValueError, match="unmatched"):
        MaskLoss(unmatched=-1)
