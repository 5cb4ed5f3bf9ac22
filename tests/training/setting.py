"""A training set-up small enough for tests; also a script for torchrun.

``setting.py OUT BATCH ACCUMULATION`` runs Pearl, with ``mixed`` behind it on two sources. With ``cheap`` behind it,
BATCH is a number of tokens, targets are cached in OUT/targets, and half of the steps leave the prediction out.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

import jepa_vlm as jv
from jepa_vlm.training import ObjectiveTrainer, Origin, TrainSettings, apply_lora, save_weights
from jepa_vlm.trajectories.rows import Mixture, Source

BACKBONE = "tiny-random-qwen2.5-vl"
ORIGIN = Origin(BACKBONE, 0, "float32")
EXACT = "float64"  # of runs that are compared: AdamW turns rounding of a small gradient into a whole step


def small_model(
    *, seed: int = 0, recipe: str = "pearl", dropout: float = 0.0, objective: Any = None, dtype: str = "float32"
) -> jv.LatentVLM:
    """Return a tiny backbone with a small adapter and an objective."""
    backbone = jv.load_backbone(BACKBONE, seed=seed, dtype=dtype)
    apply_lora(backbone, jv.Lora(rank=4, alpha=8, dropout=dropout), seed=seed)
    return jv.LatentVLM(backbone, objective or jv.load_recipe(recipe).objective, seed=seed)


def small_trainer(model: jv.LatentVLM, folder: Path, **changed: Any) -> ObjectiveTrainer:
    """Return a trainer of a few steps on a few trajectories."""
    callbacks = changed.pop("callbacks", ())
    examples = changed.pop("examples", None) or jv.playground.trajectories("visual-search", count=10)
    held_out = jv.playground.trajectories("visual-search", count=5, split="validation")
    given = {"steps": 3, "batch_size": 2, "learning_rate": 1e-3, "log_every": 1, "validate_every": 3, **changed}
    folder.mkdir(parents=True, exist_ok=True)
    return ObjectiveTrainer(
        model=model,
        settings=TrainSettings(folder=folder / "checkpoints", **given),
        train=examples,
        validation=held_out,
        metrics=folder / "metrics.jsonl",
        origin=ORIGIN,
        callbacks=callbacks,
    )


def cheap_objective(targets: Path) -> jv.Objective:
    """Return an objective with everything that saves work."""
    prediction = jv.LatentPrediction(
        context=jv.ViewEncoder(jv.views.Question(), readout="last_pred"),
        predictor=jv.PredTokenPredictor(tokens=2),
        target=jv.ViewEncoder(jv.views.TrajectoryOnly(), policy=jv.cached(targets)),
        loss_dropout=0.5,
    )
    return jv.NextToken() + 0.5 * prediction


def cheap_trainer(folder: Path, tokens: int, accumulation: int, **changed: Any) -> ObjectiveTrainer:
    """Return a trainer of that objective, its targets computed."""
    model = small_model(objective=cheap_objective(folder / "targets"), dtype=EXACT)
    settings = {"steps": 6, "validate_every": 3, "batch_tokens": tokens, "accumulation": accumulation}
    trainer = small_trainer(model, folder, **settings, **changed)
    seen = [
        *jv.playground.trajectories("visual-search", count=10),
        *jv.playground.trajectories("visual-search", count=5, split="validation"),
    ]
    jv.fill_targets(model, seen, batch_size=4)
    return trainer


def trained(model: jv.LatentVLM) -> dict[str, torch.Tensor]:
    """Return copies of everything that trains."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def small_mixture() -> Mixture:
    """Return two sources whose examples differ in length."""
    names = ("visual-search", "sequential-crops")
    return Mixture([Source(name, jv.playground.trajectories(name, count=5)) for name in names])


if __name__ == "__main__":
    out, batch, accumulation = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    if sys.argv[4:] == ["cheap"]:
        trainer = cheap_trainer(out, batch, accumulation)
    else:
        examples = small_mixture() if sys.argv[4:] == ["mixed"] else None
        settings = {"batch_size": batch, "accumulation": accumulation, "examples": examples}
        trainer = small_trainer(small_model(dtype=EXACT), out, **settings)
    trainer.train()
    if trainer.is_world_process_zero():
        save_weights(trainer.model, out / "final", ORIGIN)
