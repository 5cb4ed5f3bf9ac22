from __future__ import annotations

import torch

from jepa_vlm.predictors import IdentityPredictor


def test_the_identity_predictor_returns_the_context():
    context = torch.ones(2, 3)
    assert IdentityPredictor()(context) is context
