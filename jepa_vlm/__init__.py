"""Fine-tune vision-language models with composable latent objectives.

Names load on first use, so that ``import jepa_vlm`` and the command line's help stay fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jepa_vlm.lazy import on_first_use

__version__ = "0.1.0"

if TYPE_CHECKING:
    from jepa_vlm import playground, views
    from jepa_vlm.adapters import Backbone, load_backbone
    from jepa_vlm.engine import TextEncoder
    from jepa_vlm.generation import Latents, Plain, Tools
    from jepa_vlm.latent_vlm import LatentVLM, LossTerms
    from jepa_vlm.losses import CosineLoss, InfoNCELoss, L1Loss, LatentLoss, MSELoss, SmoothL1Loss
    from jepa_vlm.objectives import LatentPrediction, LatentReconstruction, NextToken, Objective
    from jepa_vlm.predictors import GatedPredictor, IdentityPredictor, MLPPredictor, Predictor, PredTokenPredictor
    from jepa_vlm.recipe import Lora, Published, Recipe, Stage, load_recipe
    from jepa_vlm.regularizers import NextLatentRegularizer, Regularizer
    from jepa_vlm.runs import compare, train
    from jepa_vlm.training import fill_targets
    from jepa_vlm.trajectories import Box, LazyImage, MultipleChoice, Step, ToolCall, Trajectory
    from jepa_vlm.trajectories.load import load_trajectories
    from jepa_vlm.view_encoder import ViewEncoder
    from jepa_vlm.views import cached, ema, frozen, stop_gradient, with_gradient

_HOMES = {
    "playground": "",
    "views": "",
    "Backbone": "adapters",
    "load_backbone": "adapters",
    "TextEncoder": "engine",
    "ViewEncoder": "view_encoder",
    "Latents": "generation",
    "Plain": "generation",
    "Tools": "generation",
    "LatentVLM": "latent_vlm",
    "LossTerms": "latent_vlm",
    "CosineLoss": "losses",
    "InfoNCELoss": "losses",
    "L1Loss": "losses",
    "LatentLoss": "losses",
    "MSELoss": "losses",
    "SmoothL1Loss": "losses",
    "LatentPrediction": "objectives",
    "LatentReconstruction": "objectives",
    "NextToken": "objectives",
    "Objective": "objectives",
    "GatedPredictor": "predictors",
    "IdentityPredictor": "predictors",
    "MLPPredictor": "predictors",
    "PredTokenPredictor": "predictors",
    "Predictor": "predictors",
    "Lora": "recipe",
    "Published": "recipe",
    "Recipe": "recipe",
    "Stage": "recipe",
    "load_recipe": "recipe",
    "NextLatentRegularizer": "regularizers",
    "Regularizer": "regularizers",
    "compare": "runs",
    "train": "runs",
    "fill_targets": "training",
    "Box": "trajectories",
    "LazyImage": "trajectories",
    "MultipleChoice": "trajectories",
    "Step": "trajectories",
    "ToolCall": "trajectories",
    "Trajectory": "trajectories",
    "load_trajectories": "trajectories.load",
    "cached": "views",
    "ema": "views",
    "frozen": "views",
    "stop_gradient": "views",
    "with_gradient": "views",
}

__all__ = [
    "Backbone",
    "Box",
    "CosineLoss",
    "GatedPredictor",
    "IdentityPredictor",
    "InfoNCELoss",
    "L1Loss",
    "LatentLoss",
    "LatentPrediction",
    "LatentReconstruction",
    "LatentVLM",
    "Latents",
    "LazyImage",
    "Lora",
    "LossTerms",
    "MLPPredictor",
    "MSELoss",
    "MultipleChoice",
    "NextLatentRegularizer",
    "NextToken",
    "Objective",
    "Plain",
    "PredTokenPredictor",
    "Predictor",
    "Published",
    "Recipe",
    "Regularizer",
    "SmoothL1Loss",
    "Stage",
    "Step",
    "TextEncoder",
    "ToolCall",
    "Tools",
    "Trajectory",
    "ViewEncoder",
    "__version__",
    "cached",
    "compare",
    "ema",
    "fill_targets",
    "frozen",
    "load_backbone",
    "load_recipe",
    "load_trajectories",
    "playground",
    "stop_gradient",
    "train",
    "views",
    "with_gradient",
]

__getattr__ = on_first_use(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
