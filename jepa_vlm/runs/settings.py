"""A run's values, each with where it came from: default < published < backbone profile < recipe < user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

from jepa_vlm.errors import RecipeError

if TYPE_CHECKING:
    from jepa_vlm.adapters import Profile
    from jepa_vlm.recipe import Lora, Recipe

BACKBONE, DATA = "tiny-qwen2.5-vl", "playground:sequential-crops"
DEFAULTS = {"steps": 2500, "batch_size": 4, "accumulation": 1, "learning_rate": 1e-5, "engine": "one_pass"}
FROM_RECIPE = (*DEFAULTS, "warmup", "weight_decay", "schedule", "max_grad_norm", "rates")
TRAINED_IN = ("float32", "bfloat16", "float64")
TOO_LONG = ("error", "drop", "shrink")

Origin = Literal["default", "recipe", "backbone profile", "user"]
SAID_BY = {"default": "the default", "recipe": "the recipe", "backbone profile": "the profile", "user": "the user"}


@final
@dataclass(frozen=True)
class Resolved:
    """A value and where it came from.

    Args:
        value: What holds.
        origin: Who said so; a recipe's published values are the recipe's.
        over: Another value that it came before, if there is one.
    """

    value: Any
    origin: Origin
    over: Resolved | None = field(default=None, compare=False)


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
    """Return the values of the recipe, what it leaves open filled in, and the user's in place of both."""
    values: dict[str, Resolved] = {}
    for name in FROM_RECIPE:
        values[name] = _last(
            (DEFAULTS.get(name), "default"),
            (getattr(recipe.published, name, None), "recipe"),
            (getattr(profile, name, None), "backbone profile"),
            (getattr(recipe, name), "recipe"),
            (getattr(asked, name, None), "user"),
        )
    if recipe.lora is not None:
        values |= _lora_values(recipe.lora, recipe.published.rank, profile)
    if recipe.added_tokens:
        values["added_tokens"] = Resolved(list(recipe.added_tokens), "recipe")
    if recipe.stages:
        values["stages"] = Resolved(
            [{**asdict(stage), "terms": list(stage.terms)} for stage in recipe.stages], "recipe"
        )
    if (latents := recipe.answering.record().get("decoding")) is not None:
        values["decoding"] = Resolved(latents, "recipe")
    values["validate_every"] = _or(asked.validate_every, max(1, values["steps"].value // 5))
    return values


def overruled(values: Mapping[str, Resolved], backbone: str) -> list[str]:
    """Return a sentence for each value that came before another one."""
    return [
        f"{name} {one.value} from {SAID_BY[one.origin]}"
        + (f" of {backbone}" if one.origin == "backbone profile" else "")
        + f", in place of {SAID_BY[one.over.origin]}'s {one.over.value}"
        for name, one in values.items()
        if one.over is not None
    ]


def _lora_values(lora: Lora, published: int | None, profile: Profile) -> dict[str, Resolved]:
    """Return the adapter's values. Rank and alpha go together: an open alpha is twice the rank, or the profile's where
    the rank is.
    """
    rank = _last(
        (lora.sizes()[0], "default"),
        (published, "recipe"),
        (profile.lora_rank, "backbone profile"),
        (lora.rank, "recipe"),
    )
    fits = profile.lora_alpha if rank.origin == "backbone profile" else None
    alpha = _last((2 * rank.value, "default"), (fits, "backbone profile"), (lora.alpha, "recipe"))
    others = {f"lora_{name}": Resolved(getattr(lora, name), "recipe") for name in ("dropout", "variant")}
    return {"lora_rank": rank, "lora_alpha": alpha, **others}


def _last(*said: tuple[Any, Origin]) -> Resolved:
    """Return the last value that is stated, and the one before it, if that is another one and no mere default."""
    stated = [Resolved(value, origin) for value, origin in said if value is not None]
    over = [one for one in stated[:-1] if one.origin != "default" and one.value != stated[-1].value]
    return replace(stated[-1], over=over[-1] if over else None)


def _or(said: Any, default: Any) -> Resolved:
    return Resolved(default, "default") if said is None else Resolved(said, "user")
