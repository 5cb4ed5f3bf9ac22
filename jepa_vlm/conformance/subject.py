"""The subject of the checks: a backbone with small, non-zero LoRA weights, and trajectories to run on.

In float64 the comparisons are proofs: see ``KeepFloat64``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, final

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.overrides import TorchFunctionMode

from jepa_vlm.adapters import Backbone, load_backbone
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.objectives import LatentPrediction, NextToken
from jepa_vlm.predictors import IdentityPredictor, PredTokenPredictor
from jepa_vlm.recipe import Lora
from jepa_vlm.regularizers import NextLatentRegularizer
from jepa_vlm.serialization import Serializer
from jepa_vlm.terms import Objective
from jepa_vlm.training import apply_lora
from jepa_vlm.trajectories import LazyImage, Step, ToolCall, Trajectory
from jepa_vlm.view_encoder import ViewEncoder
from jepa_vlm.views import Question, TrajectoryOnly, frozen, stop_gradient

TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-4, torch.bfloat16: 0.1, torch.float16: 0.02}
RANK = 4
_SIZES = ((112, 112), (80, 48), (40, 96), (60, 60), (33, 70))
_NARROW = (torch.float32, torch.bfloat16, torch.float16)
CONTEXTS: tuple[Literal["image", "question"], ...] = ("image", "question")


@final
@dataclass(frozen=True)
class Subject:
    """A backbone to be checked.

    Args:
        name: Name given to ``load_backbone``.
        backbone: With LoRA whose weights are not zero: at B = 0 a gradient check could not see A.
        trajectories: Examples to run on.
        visual_tokens: Limit given to ``load_backbone``.
    """

    name: str
    backbone: Backbone
    trajectories: tuple[Trajectory, ...]
    visual_tokens: int | None = None

    @classmethod
    def load(cls, name: str, dtype: torch.dtype, visual_tokens: int | None = None) -> Subject:
        """Load a backbone to be checked."""
        backbone = load_backbone(name, dtype=dtype, visual_tokens=visual_tokens)
        whole: Any = backbone.base
        if dtype == torch.float64 and whole._can_set_experts_implementation():
            whole.set_experts_implementation("eager")  # the grouped kernels know no float64
        apply_lora(backbone, Lora(rank=RANK, alpha=2 * RANK))
        randomize_lora(backbone)
        return cls(name, backbone, tuple(sample_trajectories()), visual_tokens)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self.backbone.base.dtype

    @property
    def tolerance(self) -> float:
        """Largest relative difference between two exact computations."""
        return TOLERANCE[self.dtype]

    @contextmanager
    def exact(self) -> Iterator[None]:
        """Compute in the weights' own type throughout, inside the block."""
        with KeepFloat64() if self.dtype == torch.float64 else nullcontext():
            yield

    @property
    def engines(self) -> tuple[str, ...]:
        """Engines that the family can run with."""
        return ("separate",) if self.backbone.adapter.separate_because else ("separate", "one_pass")

    def serializer(self) -> Serializer:
        """Return the serializer of the backbone's views."""
        return Serializer(processor=self.backbone.processor, adapter=self.backbone.adapter)

    def model(self, engine: str = "separate") -> LatentVLM:
        """Return the backbone with an objective that reads every view."""
        return LatentVLM(self.backbone, objective(), engine=engine)

    def prompt(self, number: int) -> dict[str, Tensor]:
        """Return a trajectory's question as the stock processor makes it, as inputs of the model."""
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
        """Return the next tokens of each prompt, chosen greedily."""
        model: Any = self.backbone.model
        padding = self.backbone.tokenizer.pad_token_id
        with torch.no_grad():
            made = model.generate(**inputs, max_new_tokens=6, do_sample=False, pad_token_id=padding)
        found: list[list[int]] = made[:, inputs["input_ids"].shape[1] :].tolist()
        return found


def objective() -> Objective:
    """Return an objective that reads every view: next token, prediction from soft tokens ([PRED]), next latent."""
    prediction = LatentPrediction(
        context=ViewEncoder(Question(), readout="last_pred"),
        predictor=PredTokenPredictor(tokens=2),
        target=ViewEncoder(TrajectoryOnly(), readout="last_token", policy=stop_gradient()),
    )
    return NextToken() + 0.2 * prediction + 0.2 * NextLatentRegularizer(horizon=2)


def two_targets() -> Objective:
    """Return an objective with two target views that share a prefix and are encoded without gradient."""
    parts = [
        LatentPrediction(
            context=ViewEncoder(Question(), readout="last_token"),
            predictor=IdentityPredictor(),
            target=ViewEncoder(TrajectoryOnly(context=context), readout="last_token", policy=frozen()),
        )
        for context in CONTEXTS
    ]
    return NextToken() + parts[0] + parts[1]


def randomize_lora(backbone: Backbone) -> None:
    """Give LoRA seeded random weights."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in backbone.base.named_parameters():
        if ".lora_" in name:
            noise = 0.05 * torch.randn(parameter.shape, generator=generator)
            with torch.no_grad():
                parameter.copy_(noise)


def sample_trajectories() -> list[Trajectory]:
    """Return three trajectories of seeded noise images and plain words."""
    generator = torch.Generator().manual_seed(0)
    images = [_noise(width, height, generator) for width, height in _SIZES]
    box = ToolCall("crop", {"row": 1})
    return [
        Trajectory("two calls", (images[0],), "What color is the ring?", _steps(box, images[1:3]), answer="red"),
        Trajectory(
            "two images, one call",
            (images[3], images[4]),
            "Is this  like this? ",
            _steps(box, images[:1]),
            answer="B",
            image_places=(8, 20),
        ),
        Trajectory("no call", (images[1],), "How many rings are there?", (Step("two"),), answer="two"),
    ]


def _steps(call: ToolCall, images: list[LazyImage]) -> tuple[Step, ...]:
    looks = [
        Step(f"look at row {i}", call=call, image=image, observation="look left" if i else "")
        for i, image in enumerate(images)
    ]
    return (*looks, Step("it is red"))


def _noise(width: int, height: int, generator: torch.Generator) -> LazyImage:
    pixels = torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8)
    return LazyImage(pixels=Image.fromarray(pixels.numpy()))


@final
class KeepFloat64(TorchFunctionMode):
    """While active, casting a float64 tensor to a narrower type leaves it as it is.

    Models cast to float32 in their norms, rotary embeddings and softmaxes whatever they run in; two exact computations
    of the same number then differ by float32's rounding, and a real mistake of that size would hide.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the function, its type arguments widened where its first tensor is float64."""
        given = kwargs or {}
        if args and isinstance(args[0], Tensor) and args[0].dtype == torch.float64:
            if func in (Tensor.float, Tensor.half, Tensor.bfloat16):
                return args[0]
            if func is F.grid_sample:  # its grid is made in float32
                args = (args[0], args[1].double(), *args[2:])
            args = tuple(_wider(value) for value in args)
            given = {name: _wider(value) for name, value in given.items()}
        return func(*args, **given)


def _wider(value: Any) -> Any:
    # Its kind first: comparing a tensor with a type is slow, and this runs for every argument of every function.
    return torch.float64 if isinstance(value, torch.dtype) and value in _NARROW else value
