"""The step of Pearl's released code, re-created: three views of each example in one padded batch, all their logits.

What it costs and does not have to: every view is padded to the longest, each runs the vision tower and the head anew,
all layers' states are kept, and the head is copied in every step for the next-latent term, which forms all logits once
more. Left out, in its favour: dropout, and adapters on the vision tower. Its attention is the stock steps' own.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from jepa_vlm.bench import stock
from jepa_vlm.bench.step import Setting, Step
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.recipe import load_recipe
from jepa_vlm.regularizers.next_latent import LatentDynamics
from jepa_vlm.views import IGNORED

LAMBDA = 0.2
VIEWS = ("conversation", "question", "trajectory")


def pearl_released(setting: Setting) -> Step:
    """Return the step."""
    backbone = setting.backbone
    model = LatentVLM(backbone, load_recipe("pearl_released", dropout=0.0).objective, seed=setting.seed)
    views = [model.serialize(trajectory) for trajectory in setting.trajectories]
    images = stock.images_of(setting)
    shown = [(own[name], pictures) for name in VIEWS for own, pictures in zip(views, images, strict=True)]
    inputs = stock.padded(setting, shown)
    dynamics = LatentDynamics(
        dim=backbone.dim, condition="token", generator=torch.Generator().manual_seed(setting.seed)
    ).to(setting.device)
    ends = {name: [own[name].readouts["turn_end"] for own in views] for name in VIEWS}
    count = len(views)

    def loss() -> Tensor:
        out = stock.forward(backbone, inputs, output_hidden_states=True)
        whole, question, trajectory = out.hidden_states[-1].split(count)
        predicted, target = _at(question, ends["question"]), _at(trajectory, ends["trajectory"]).detach()
        apart = (1 - F.cosine_similarity(predicted.float(), target.float())).mean()
        following = backbone.base.get_input_embeddings()(inputs["input_ids"][:count])
        head = copy.deepcopy(backbone.base.get_output_embeddings())
        total: Tensor = out.loss + LAMBDA * (apart + _next(dynamics, whole, following, inputs["labels"][:count], head))
        return total

    return Step(
        setting=setting,
        loss=loss,
        module=nn.ModuleList([backbone.model, dynamics]),
        around=lambda: stock.around(setting),
    )


def _at(states: Tensor, ends: list[int]) -> Tensor:
    return torch.stack([own[end] for own, end in zip(states, ends, strict=True)])


def _next(dynamics: LatentDynamics, states: Tensor, following: Tensor, labels: Tensor, head: Any) -> Tensor:
    """Return the state and the token part of the next-latent term, at supervised positions."""
    state, after, target = (
        rearrange(part, "batch tokens dim -> (batch tokens) dim")
        for part in (states[:, :-1], following[:, 1:], states[:, 1:].detach())
    )
    wanted = rearrange(labels[:, 1:], "batch tokens -> (batch tokens)")
    guess = dynamics(state, after)
    keep = (wanted != IGNORED).to(guess.dtype)
    off = F.smooth_l1_loss(guess, target.to(guess.dtype), reduction="none").mean(dim=-1)
    logits = head(guess.to(states.dtype)).float()
    return (off * keep).sum() / keep.sum() + F.cross_entropy(logits, wanted, ignore_index=IGNORED)
