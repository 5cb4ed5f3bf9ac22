"""The training loop around ``transformers.Trainer``: adapter, checks, checkpoints, export. Loaded on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jepa_vlm.lazy import on_first_use

if TYPE_CHECKING:
    from jepa_vlm.training.checkpoint import Origin, load_checkpoint, load_weights, read_origin, save_weights
    from jepa_vlm.training.lora import Part, apply_lora, parts
    from jepa_vlm.training.merge import Exported, export
    from jepa_vlm.training.target_filling import fill_targets
    from jepa_vlm.training.train_settings import TrainSettings
    from jepa_vlm.training.trainer import ObjectiveTrainer

_HOMES = {
    "Exported": "merge",
    "ObjectiveTrainer": "trainer",
    "Origin": "checkpoint",
    "Part": "lora",
    "TrainSettings": "train_settings",
    "apply_lora": "lora",
    "export": "merge",
    "fill_targets": "target_filling",
    "load_checkpoint": "checkpoint",
    "load_weights": "checkpoint",
    "parts": "lora",
    "read_origin": "checkpoint",
    "save_weights": "checkpoint",
}

__all__ = [
    "Exported",
    "ObjectiveTrainer",
    "Origin",
    "Part",
    "TrainSettings",
    "apply_lora",
    "export",
    "fill_targets",
    "load_checkpoint",
    "load_weights",
    "parts",
    "read_origin",
    "save_weights",
]

__getattr__ = on_first_use(__name__, _HOMES)
