"""A run's values, each with where it came from: recipe < backbone profile < user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

from jepa_vlm.errors import RecipeError

if TYPE_CHECKING:
    from jepa_vlm.adapters import Profile
    from jepa_vlm.recipe import Recipe

BACKBONE, DATA = "tiny-qwen2.5-vl", "playground:sequential-crops"
FROM_PROFILE = ("learning_rate", "lora_rank", "lora_alpha", "batch_size", "accumulation", "steps", "engine")
FROM_RECIPE = (
    "steps", "batch_size", "accumulation", "learning_rate", "warmup", "weight_decay", "schedule", "max_grad_norm",
    "engine", "rates",
)  # fmt: skip
TRAINED_IN = ("float32", "bfloat16", "float64")
TOO_LONG = ("error", "drop", "shrink")

Origin = Literal["default", "recipe", "backbone profile", "user"]


@final
@dataclass(frozen=True)
class Resolved:
    """A value and where it came from."""

    value: Any
    origin: Origin


@final
@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the user said; None (or empty) where nothing was said.

    Args:
        recipe: Name or file of the recipe, for the record.
        parameters: Of the recipe.
        backbone, data, output: As on the command line.
        resume: Go on with the run in the output folder.
        steps, batch_size, accumulation, learning_rate, engine, rates: In place of the recipe's.
        batch_tokens: Most tokens of a training micro-batch on a device, in place of ``batch_size``.
        seed, dtype, visual_tokens, quantize, workers, report_to: Of the run.
        max_tokens: Longest conversation, in tokens.
        too_long: What becomes of longer ones: ``error``, ``drop`` (counted) or ``shrink`` (their images).
        questions: How many held-out questions are asked before and after.
        validate_every: Steps between validations.
        command: The command line, for the record and for resuming.

    Raises:
        ValueError: If a value is out of its range.
        RecipeError: If micro-batches are to be counted in trajectories and in tokens.
    """

    recipe: str
    parameters: dict[str, Any] = field(default_factory=dict)
    backbone: str | None = None
    data: str | None = None
    output: Path | None = None
    resume: bool = False
    steps: int | None = None
    batch_size: int | None = None
    batch_tokens: int | None = None
    accumulation: int | None = None
    learning_rate: float | None = None
    engine: str | None = None
    rates: Mapping[str, float] | None = None
    seed: int | None = None
    dtype: str | None = None
    visual_tokens: int | None = None
    quantize: bool = False
    workers: int | None = None
    report_to: tuple[str, ...] | None = None
    max_tokens: int | None = None
    too_long: str | None = None
    questions: int | None = None
    validate_every: int | None = None
    command: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_tokens is not None:
            raise RecipeError(
                f"A micro-batch holds so many trajectories or so many tokens, got --batch-size {self.batch_size} and "
                f"--batch-tokens {self.batch_tokens}; give one of them."
            )
        whole = ("steps", "batch_size", "batch_tokens", "accumulation", "max_tokens", "visual_tokens", "validate_every")
        for name in whole:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        for name in ("seed", "workers", "questions", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} must not be negative, got {value}.")
        if self.dtype is not None and self.dtype not in TRAINED_IN:
            raise ValueError(f"dtype must be one of {', '.join(TRAINED_IN)} for a run; got {self.dtype!r}.")
        if self.too_long is not None and self.too_long not in TOO_LONG:
            raise ValueError(f"too_long must be one of {', '.join(TOO_LONG)}; got {self.too_long!r}.")


def run_values(asked: Asked, *, gpu: bool) -> dict[str, Resolved]:
    """Return the values that do not depend on the recipe."""
    tiny = str(asked.backbone or BACKBONE).startswith("tiny")
    values: dict[str, Resolved] = {
        "recipe": Resolved(asked.recipe, "user"),
        "backbone": _or(asked.backbone, BACKBONE),
        "data": _or(asked.data, DATA),
        "seed": _or(asked.seed, 0),
        "dtype": _or(asked.dtype, "bfloat16" if gpu and not tiny else "float32"),
        "visual_tokens": _or(asked.visual_tokens, None),
        "quantize": _or(asked.quantize or None, False),
        "batch_tokens": _or(asked.batch_tokens, None),
        "max_tokens": _or(asked.max_tokens, None),
        "too_long": _or(asked.too_long, "error"),
        "workers": _or(asked.workers, 4 if gpu else 0),
        "report_to": _or(list(asked.report_to) if asked.report_to else None, []),
        "questions": _or(asked.questions, 512),
    }
    for name, value in asked.parameters.items():
        values[f"parameter.{name}"] = Resolved(value, "user")
    return values


def training_values(asked: Asked, recipe: Recipe, profile: Profile) -> dict[str, Resolved]:
    """Return the values of the recipe, the backbone's profile in place of some, the user's in place of both."""
    values: dict[str, Resolved] = {}
    for name in FROM_RECIPE:
        values[name] = Resolved(getattr(recipe, name), "recipe")
    for item in fields(recipe.lora) if recipe.lora is not None else ():
        values[f"lora_{item.name}"] = Resolved(getattr(recipe.lora, item.name), "recipe")
    for name in FROM_PROFILE:
        if (value := getattr(profile, name)) is not None and name in values:
            values[name] = Resolved(value, "backbone profile")
    for name in ("steps", "batch_size", "accumulation", "learning_rate", "engine", "rates"):
        if (value := getattr(asked, name)) is not None:
            values[name] = Resolved(value, "user")
    if recipe.added_tokens:
        values["added_tokens"] = Resolved(list(recipe.added_tokens), "recipe")
    if recipe.stages:
        values["stages"] = Resolved(
            [{**asdict(stage), "terms": list(stage.terms)} for stage in recipe.stages], "recipe"
        )
    if recipe.decoding is not None:
        values["decoding"] = Resolved(asdict(recipe.decoding), "recipe")
    values["validate_every"] = _or(asked.validate_every, max(1, values["steps"].value // 5))
    return values


def _or(said: Any, default: Any) -> Resolved:
    return Resolved(default, "default") if said is None else Resolved(said, "user")
