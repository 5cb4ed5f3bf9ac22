"""What would show that an arm learnt something else: answers without pictures, latents of another's trajectory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device
from PIL import Image
from torch import Tensor

from jepa_vlm import LatentVLM, LazyImage, load_recipe
from jepa_vlm.comparison import mean_interval
from jepa_vlm.generation.greedy import inference
from jepa_vlm.losses import LatentLoss
from jepa_vlm.runs.environment import device
from jepa_vlm.training import load_checkpoint, load_weights
from jepa_vlm.trajectories import MultipleChoice, Trajectory

BLANK = (222, 226, 222)  # what the playground's own background is on average
BATCH = 16


def blanked(items: Sequence[MultipleChoice]) -> list[MultipleChoice]:
    """Return the same questions, each picture one uniform light colour of the same size."""
    return [
        replace(item, images=tuple(LazyImage(pixels=Image.new("RGB", image.size, BLANK)) for image in item.images))
        for item in items
    ]


def latent_losses(best: Path, recipe: str, trajectories: Sequence[Trajectory]) -> dict[str, Any]:
    """Return each prediction term's loss with the true trajectories and with those of other examples.

    The others are ``any``, or those that are ``alike``: of the same task, and with tool calls or without, as it is.

    Args:
        best: A checkpoint.
        recipe: That made it.
        trajectories: Held out.
    """
    model = LatentVLM(load_checkpoint(best), load_recipe(recipe).objective)
    load_weights(model, best)
    torch.nn.Module.to(model, device())
    collate = model.collator()
    groups = {
        "any": [""] * len(trajectories),
        "alike": [f"{trajectory.task}, {trajectory.calls > 0}" for trajectory in trajectories],
    }
    pairs: dict[str, list[tuple[Tensor, Tensor]]] = {}
    with inference(model):
        for start in range(0, len(trajectories), BATCH):
            batch = send_to_device(collate(list(trajectories[start : start + BATCH])), device())
            for name, pair in model(batch).latents.items():
                pairs.setdefault(name, []).append(pair)
        found: dict[str, Any] = {}
        for name, held in pairs.items():
            loss: Any = model.objective.terms[name].loss
            predicted, target = (torch.cat(side) for side in zip(*held, strict=True))
            found[name] = {
                others: true_and_shuffled(loss, predicted, target, group) for others, group in groups.items()
            }
    return found


def true_and_shuffled(loss: LatentLoss, predicted: Tensor, target: Tensor, groups: Sequence[str]) -> dict[str, Any]:
    """Return the mean loss against the own targets, against those of all other examples of the same group, by how much
    the others' is larger, with a 95% interval over examples, and the mean loss between two targets of a group.

    An example that is alone in its group is left out.

    Args:
        loss: One value for each example.
        predicted, target: Latents, (examples dim).
        groups: Of the examples.

    Raises:
        ValueError: If no two examples are of one group.
    """
    if len(set(groups)) == len(groups):
        raise ValueError(f"Another example's target needs two examples of one group, got {list(groups)}.")
    true, other, apart = [], [], []
    for group in sorted(set(groups)):
        rows = torch.tensor([i for i, name in enumerate(groups) if name == group], device=predicted.device)
        if len(rows) < 2:
            continue
        own, targets = predicted[rows], target[rows]
        shifts = range(1, len(rows))
        true += loss(own, targets).tolist()
        other += torch.stack([loss(own, targets.roll(shift, 0)) for shift in shifts]).mean(0).tolist()
        apart += torch.stack([loss(targets, targets.roll(shift, 0)) for shift in shifts]).mean(0).tolist()
    return {
        "n": len(true),
        "true": sum(true) / len(true),
        "shuffled": sum(other) / len(other),
        "apart": sum(apart) / len(apart),
        "difference": asdict(mean_interval([b - a for a, b in zip(true, other, strict=True)])),
    }
