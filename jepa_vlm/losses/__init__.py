"""Distances between latents, one value per example, and the token cross-entropy."""

from jepa_vlm.losses.cosine import CosineLoss
from jepa_vlm.losses.info_nce import InfoNCELoss
from jepa_vlm.losses.l1 import L1Loss
from jepa_vlm.losses.latent_loss import LatentLoss
from jepa_vlm.losses.mse import MSELoss
from jepa_vlm.losses.smooth_l1 import SmoothL1Loss
from jepa_vlm.losses.token_cross_entropy import token_cross_entropy

__all__ = [
    "CosineLoss",
    "InfoNCELoss",
    "L1Loss",
    "LatentLoss",
    "MSELoss",
    "SmoothL1Loss",
    "token_cross_entropy",
]
