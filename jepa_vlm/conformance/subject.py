"""What is checked: a backbone with a small, non-zero adapter, and everything that is derived from it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from torch import Tensor

from jepa_vlm.adapters import Backbone, load_backbone
from jepa_vlm.conformance.sample import sample_trajectories
from jepa_vlm.conformance.wide import KeepFloat64
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.objectives import LatentPrediction, NextToken
from jepa_vlm.predictors import IdentityPredictor, PredTokenPredictor
from jepa_vlm.recipe import Lora
from jepa_vlm.regularizers import NextLatentRegularizer
from jepa_vlm.terms import Objective
from jepa_vlm.training import apply_lora
from jepa_vlm.trajectories import Trajectory
from jepa_vlm.view_encoder import ViewEncoder
from jepa_vlm.views import Question, TrajectoryOnly, frozen, stop_gradient

TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-4, torch.bfloat16: 0.1, torch.float16: 0.02}
RANK = 4
CONTEXTS: tuple[Literal["image", "question"], ...] = ("image", "question")


@final
@dataclass(frozen=True)
class Subject:
    """A backbone under examination.

    Args:
        name: As given to ``load_backbone``.
        backbone: Loaded, LoRA on, its weights non-zero: at B = 0 a gradient check would be blind to A.
        trajectories: What checks run on.
        visual_tokens: As given to ``load_backbone``.
    """

    name: str
    backbone: Backbone
    trajectories: tuple[Trajectory, ...]
    visual_tokens: int | None = None

    @classmethod
    def load(cls, name: str, dtype: torch.dtype, visual_tokens: int | None = None) -> Subject:
        """Load a backbone for examination."""
        backbone = load_backbone(name, dtype=dtype, visual_tokens=visual_tokens)
        whole: Any = backbone.base
        if dtype == torch.float64 and whole._can_set_experts_implementation():
            whole.set_experts_implementation("eager")  # the grouped kernels know no float64
        apply_lora(backbone, Lora(rank=RANK, alpha=2 * RANK))
        disturb(backbone)
        return cls(name, backbone, tuple(sample_trajectories()), visual_tokens)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.backbone.base.dtype

    @property
    def tolerance(self) -> float:
        """Largest relative difference of two exact ways."""
        return TOLERANCE[self.dtype]

    @contextmanager
    def exact(self) -> Iterator[None]:
        """Compute in the weights' own type throughout."""
        with KeepFloat64() if self.dtype == torch.float64 else nullcontext():
            yield

    def model(self, engine: str = "separate") -> LatentVLM:
        """Return the paper's objective on the backbone."""
        return LatentVLM(self.backbone, objective(), engine=engine)

    def prompt(self, number: int) -> dict[str, Tensor]:
        """Return a trajectory's question as the stock processor makes it, ready for the model."""
        return self.prompts([self.trajectories[number]])

    def prompts(self, asked: list[Trajectory]) -> dict[str, Tensor]:
        """Return several questions in one batch, padded on the left."""
        talks = [
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": part}
                        if isinstance(part, str)
                        else {"type": "image", "image": part.load()}
                        for part in trajectory.asked
                    ],
                }
            ]
            for trajectory in asked
        ]
        made = self.backbone.processor.apply_chat_template(
            talks,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            add_generation_prompt=True,
            processor_kwargs={"padding": True, "padding_side": "left"},
        )
        read = set(inspect.signature(self.backbone.base.forward).parameters) - {"labels"}
        kept = {name: value for name, value in made.items() if name in read}
        return {n: v.to(self.dtype) if v.is_floating_point() else v for n, v in kept.items()}

    def generate(self, inputs: Mapping[str, Tensor]) -> list[list[int]]:
        """Return the tokens that follow, chosen greedily."""
        model: Any = self.backbone.model
        padding = self.backbone.tokenizer.pad_token_id
        with torch.no_grad():
            made = model.generate(**inputs, max_new_tokens=6, do_sample=False, pad_token_id=padding)
        found: list[list[int]] = made[:, inputs["input_ids"].shape[1] :].tolist()
        return found


def objective() -> Objective:
    """Return an objective that reads every view: next token, prediction from [PRED] slots, next latent."""
    prediction = LatentPrediction(
        context=ViewEncoder(Question(), readout="last_pred"),
        predictor=PredTokenPredictor(tokens=2),
        target=ViewEncoder(TrajectoryOnly(), readout="last_token", policy=stop_gradient()),
    )
    return NextToken() + 0.2 * prediction + 0.2 * NextLatentRegularizer(horizon=2)


def two_targets() -> Objective:
    """Return an objective of two views that only a row without gradient computes, sharing a prefix."""
    parts = [
        LatentPrediction(
            context=ViewEncoder(Question(), readout="last_token"),
            predictor=IdentityPredictor(),
            target=ViewEncoder(TrajectoryOnly(context=context), readout="last_token", policy=frozen()),
        )
        for context in CONTEXTS
    ]
    return NextToken() + parts[0] + parts[1]


def disturb(backbone: Backbone) -> None:
    """Give the adapter seeded weights."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in backbone.base.named_parameters():
        if ".lora_" in name:
            noise = 0.05 * torch.randn(parameter.shape, generator=generator)
            with torch.no_grad():
                parameter.copy_(noise)
