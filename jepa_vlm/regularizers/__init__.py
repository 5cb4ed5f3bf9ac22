"""Regularizers: terms over the states of one view."""

from jepa_vlm.regularizers.next_latent import NextLatentRegularizer
from jepa_vlm.regularizers.regularizer import Regularizer

__all__ = ["NextLatentRegularizer", "Regularizer"]
