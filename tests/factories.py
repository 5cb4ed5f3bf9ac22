"""What many tests build: a tiny backbone with LoRA, an objective, random trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image

import jepa_vlm as jv
from jepa_vlm import playground
from jepa_vlm.adapters.processors import torchvision_works
from jepa_vlm.adapters.tiny import TINY

WORDS = playground.words()
TARGETS = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


def seeds(fast: int, all_of: int) -> list[Any]:
    """Seeds to parametrise with: the first few in the fast tests, the others in the slow ones."""
    return [*range(fast), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(fast, all_of))]


def families(among: Any = TINY, *, fast: Any = TINY) -> list[Any]:
    """The tiny models, as values to parametrise with; those that this machine cannot build are skipped.

    Those that are not ``fast`` are in the slow tests.
    """
    absent = pytest.mark.skipif(not torchvision_works(), reason="its processor needs torchvision")
    marks = {name: [absent] * TINY[name].torchvision + [pytest.mark.slow] * (name not in fast) for name in among}
    return [pytest.param(name, marks=own) if own else name for name, own in marks.items()]


def opens_a_thought(processor: Any) -> None:
    """Let a prompt of a tiny ChatML template end in ``<think>``, as Qwen3-VL-Thinking's does, and a turn not."""
    asked = "{{ '<|im_start|>assistant\\n' }}\n{%- endif"
    assert asked in processor.chat_template
    processor.chat_template = processor.chat_template.replace(asked, asked.replace("\\n'", "\\n<think>\\n'"))


def lora_backbone(dtype: torch.dtype = torch.float32, *, rank: int = 4, dropout: float = 0.0) -> jv.Backbone:
    """A tiny backbone whose adapter is not zero: with B = 0 a gradient test would be blind to A."""
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl", seed=0, dtype=dtype)
    backbone.model.requires_grad_(False)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=dropout, target_modules=TARGETS)
    backbone.model = get_peft_model(backbone.model, config)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in backbone.model.named_parameters():
        if "lora_" in name:
            with torch.no_grad():
                parameter.data = (0.05 * torch.randn(parameter.shape, generator=generator)).to(dtype)
    backbone.model.train()
    return backbone


LATENT_TOKENS = ("<|latent_start|>", "<|latent_end|>", "<|latent|>")


def latent_backbone(dtype: torch.dtype = torch.float32, *, tokens: Sequence[str] = LATENT_TOKENS) -> jv.Backbone:
    """The tiny backbone with LoRA and the tokens of latent slots, whose rows of the embedding train."""
    backbone = lora_backbone(dtype)
    backbone.tokenizer.add_tokens(list(tokens), special_tokens=True)
    torch.manual_seed(2)
    backbone.base.resize_token_embeddings(len(backbone.tokenizer), mean_resizing=False)
    return backbone


def pearl_objective(*, tokens: int = 4, horizon: int = 1) -> jv.Objective:
    prediction = jv.LatentPrediction(
        context=jv.ViewEncoder(jv.views.Question(), readout="last_pred"),
        predictor=jv.PredTokenPredictor(tokens=tokens),
        target=jv.ViewEncoder(jv.views.TrajectoryOnly(), readout="last_token", policy=jv.stop_gradient()),
        loss=jv.SmoothL1Loss(beta=1.0),
    )
    return jv.NextToken() + 0.2 * prediction + 0.2 * jv.NextLatentRegularizer(horizon=horizon)


def random_trajectory(generator: torch.Generator, name: str, *, calls: int | None = None) -> jv.Trajectory:
    """A trajectory of random words with 0 to 3 calls and images of many sizes."""

    def pick(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    def words(low: int, high: int) -> str:
        return " ".join(WORDS[pick(0, len(WORDS) - 1)] for _ in range(pick(low, high)))

    def image() -> jv.LazyImage:
        width, height = pick(17, 80), pick(17, 80)
        pixels = torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8).numpy()
        return jv.LazyImage(pixels=Image.fromarray(pixels))

    count = pick(0, 3) if calls is None else calls
    steps = [
        jv.Step(words(1, 6), call=jv.ToolCall("crop", {"row": pick(1, 7)}), image=image(), observation=words(0, 2))
        for _ in range(count)
    ]
    images = tuple(image() for _ in range(pick(1, 2)))
    return jv.Trajectory(name, images, words(2, 9), (*steps, jv.Step(words(1, 3))), answer="A")


def gradients_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What the parameters that have a gradient have, by name."""
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def back_propagated(model: jv.LatentVLM, batch: Any) -> tuple[jv.LossTerms, dict[str, torch.Tensor]]:
    """A batch's terms and its gradients alone."""
    model.zero_grad()
    terms = model(batch)
    terms.total.backward()
    return terms, gradients_of(model)


def random_batch(seed: int) -> list[jv.Trajectory]:
    generator = torch.Generator().manual_seed(seed)
    size = int(torch.randint(1, 6, (), generator=generator))
    return [random_trajectory(generator, f"{seed}-{i}") for i in range(size)]
