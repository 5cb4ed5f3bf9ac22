from __future__ import annotations

import pytest
import torch

from jepa_vlm.predictors import PredTokenPredictor


def test_initial_soft_tokens_have_the_requested_spread():
    predictor = PredTokenPredictor(tokens=50, std=0.5)
    predictor.setup(400, torch.Generator().manual_seed(0))
    assert predictor.slot_inputs().std().item() == pytest.approx(0.5, rel=0.02)
    assert predictor.slot_inputs().mean().item() == pytest.approx(0.0, abs=0.02)


def test_the_prediction_is_the_state_at_the_last_soft_token():
    predictor = PredTokenPredictor()
    predictor.setup(3, torch.Generator().manual_seed(0))
    context = torch.ones(2, 3)
    assert predictor(context) is context
    assert predictor.slots == 4


def test_soft_tokens_before_setup_are_refused():
    with pytest.raises(RuntimeError, match="PredTokenPredictor has no weights yet"):
        PredTokenPredictor().slot_inputs()


def test_arguments_of_the_pred_token_predictor_are_checked():
    with pytest.raises(ValueError, match=r"tokens must be at least 1, got 0; for none use IdentityPredictor\(\)"):
        PredTokenPredictor(tokens=0)
    with pytest.raises(ValueError, match="std must be positive, got 0"):
        PredTokenPredictor(std=0.0)
