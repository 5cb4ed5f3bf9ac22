"""What many tests build: a tiny backbone with LoRA, objectives, random trajectories, evaluations, a tensor recorder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import jepa_vlm as jv
from jepa_vlm import playground
from jepa_vlm.adapters.processors import torchvision_works
from jepa_vlm.adapters.tiny import TINY
from jepa_vlm.evaluation import Accuracy, Evaluation, MarkedAnswer, Protocol, Scored

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


def question_prediction(policy: Any, *, readout: str = "last_token", context: str = "none") -> jv.LatentPrediction:
    """Return a prediction of the trajectory from two soft tokens after the question."""
    return jv.LatentPrediction(
        context=jv.ViewEncoder(jv.views.Question(), readout="last_pred"),
        predictor=jv.PredTokenPredictor(tokens=2),
        target=jv.ViewEncoder(jv.views.TrajectoryOnly(context=context), readout=readout, policy=policy),
    )


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


def made_evaluation(
    right: str, *, scoring: str = "letter-logits", ids: str = "", truth: str = "A", ran: int | None = None
) -> Evaluation:
    """Return an evaluation of one answer for each mark: "1" is right, "0" is wrong (B).

    ``ran``: in how many of them a latent step was taken.
    """
    answers = tuple(
        MarkedAnswer(
            id=ids[i] if ids else f"item-{i}",
            task="search",
            truth=truth,
            predicted=truth if mark == "1" else "B",
            correct=mark == "1",
            text="",
            parse_failed=False,
        )
        for i, mark in enumerate(right)
    )
    n, correct = len(right), right.count("1")
    overall = Accuracy(value=correct / n, correct=correct, n=n, low=0.0, high=1.0, chance=0.25)
    scored = Scored(
        protocol=Protocol(scoring=scoring, max_new_tokens=0),
        answers=answers,
        overall=overall,
        tasks={"search": overall},
        parse_failure_rate=0.0,
        latent_use=None if ran is None else {"answers": ran, "steps": 4 * ran},
    )
    return Evaluation(
        benchmark="playground", backbone="x", seed=0, scored=(scored,), versions={"torch": "2"}, commit=None
    )


class Alive(TorchDispatchMode):
    """Notes the shape of everything that is made inside the ``with`` block; a view of what was there is not made."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: set[tuple[int, ...]] = set()

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if operator.namespace == "torch_nn":  # written in Python: look at what it does
            with self:
                found = operator.redispatch(torch._C.DispatchKeySet(torch._C.DispatchKey.CPU), *args, **(kwargs or {}))
        else:
            found = operator(*args, **(kwargs or {}))
        given = {t.untyped_storage()._cdata for t in _tensors((args, kwargs))}
        self.shapes |= {tuple(t.shape) for t in _tensors(found) if t.untyped_storage()._cdata not in given}
        return found

    def rows(self, width: int) -> int:
        """Return the most rows of a tensor whose last axis is this wide."""
        sizes = [torch.Size(shape[:-1]).numel() for shape in self.shapes if shape and shape[-1] == width]
        return max(sizes, default=0)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]
