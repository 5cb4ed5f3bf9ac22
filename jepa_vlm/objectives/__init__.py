"""Objectives: weighted sums of terms."""

from jepa_vlm.objectives.latent_prediction import LatentPrediction
from jepa_vlm.objectives.latent_reconstruction import LatentReconstruction
from jepa_vlm.objectives.next_token import NextToken
from jepa_vlm.terms import Objective, Term, TermValue

__all__ = [
    "LatentPrediction",
    "LatentReconstruction",
    "NextToken",
    "Objective",
    "Term",
    "TermValue",
]
