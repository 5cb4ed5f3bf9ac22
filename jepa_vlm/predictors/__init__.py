"""Predictors: they map the context view's state to the target view's latent."""

from jepa_vlm.predictors.gated import GatedPredictor
from jepa_vlm.predictors.identity import IdentityPredictor
from jepa_vlm.predictors.mlp import MLPPredictor
from jepa_vlm.predictors.pred_token import PredTokenPredictor
from jepa_vlm.predictors.predictor import Predictor

__all__ = ["GatedPredictor", "IdentityPredictor", "MLPPredictor", "PredTokenPredictor", "Predictor"]
