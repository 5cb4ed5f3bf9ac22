"""The settings of a run, each stated once, and their resolved values with the origin of each.

A field of ``RunSettings`` is an option of ``jepa-vlm recipe`` (and of ``jepa-vlm compare``, where ``shared``), an
argument of ``train``, and a value that ``config.json`` records. A new option is one new field.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, final, get_args

from jepa_vlm.errors import RecipeError, UnknownNameError
from jepa_vlm.recipe import Recipe
from jepa_vlm.recipe.recipe import ENGINES

if TYPE_CHECKING:
    from jepa_vlm.adapters import Profile
    from jepa_vlm.recipe import Lora


BACKBONE, DATA = "tiny-qwen2.5-vl", "playground:sequential-crops"
OF_RECIPE = ("warmup", "weight_decay", "schedule", "max_grad_norm")  # recorded, whether or not a user can set them

Origin = Literal["default", "recipe", "backbone profile", "user"]
SAID_BY = {"default": "the default", "recipe": "the recipe", "backbone profile": "the profile", "user": "the user"}


@final
@dataclass(frozen=True)
class Option:
    """Everything about a setting except its name and type; stands in the ``Annotated`` type of a field.

    Args:
        help: One sentence for the command line.
        default: The value if nobody sets it, or a function that takes ``gpu`` and ``tiny`` (whether the backbone is one
            of the tiny models) and returns it.
        least: Smallest value.
        flag: Name on the command line, if it differs from the field's.
        pairs: Of a mapping: how one entry is written, and an example.
        offered: Values that the command line offers, where the type has more or does not name them.
        shared: Whether ``compare`` has the option too, for all its runs; a text replaces the help there.
        recorded: Whether ``config.json`` records the value.
        may_change: Whether a resumed run may have another value, and runs that differ only in their seed too.
    """

    help: str
    _: KW_ONLY
    default: Any = None
    least: int | None = None
    flag: str = ""
    pairs: tuple[str, str] = ("", "")
    offered: tuple[str, ...] = ()
    shared: bool | str = False
    recorded: bool = True
    may_change: bool = False


@final
@dataclass(frozen=True)
class RunSettings:
    """What a user sets for a run; None where nothing is set. Each field's help text says what it sets.

    Raises:
        ValueError: If a value is out of its range.
        RecipeError: If micro-batches are counted both in trajectories and in tokens.
    """

    backbone: Annotated[str | None, Option("A name of `backbones`, a folder, or a hub id.", default=BACKBONE)] = None
    data: Annotated[str | None, Option("playground:TASK, FORMAT:PATH, a path, or a mixture of them.", default=DATA)] = (
        None
    )
    output: Annotated[str | Path | None, Option("A new folder for the run.", recorded=False)] = None
    _: KW_ONLY
    parameters: Annotated[
        Mapping[str, Any] | None,
        Option("Parameter of the recipe, KEY=VALUE.", flag="--set", pairs=("KEY=VALUE", "tokens=8"), recorded=False),
    ] = None
    steps: Annotated[
        int | None,
        Option(
            "Optimiser steps.",
            default=2500,
            least=1,
            shared="Optimiser steps; those of the baseline, when others match it.",
        ),
    ] = None
    batch_size: Annotated[
        int | None, Option("Trajectories per micro-batch and device.", default=4, least=1, shared=True)
    ] = None
    batch_tokens: Annotated[
        int | None,
        Option("Most tokens per micro-batch and device, in place of --batch-size.", least=1, shared=True),
    ] = None
    accumulation: Annotated[int | None, Option("Micro-batches per step.", default=1, least=1, shared=True)] = None
    learning_rate: Annotated[
        float | None, Option("Peak learning rate.", default=1e-5, least=0, flag="--lr", shared=True)
    ] = None
    rates: Annotated[
        Mapping[str, float] | None,
        Option(
            "PART=FACTOR: language, projector or vision trains at FACTOR x --lr.",
            flag="--train",
            pairs=("PART=FACTOR", "projector=0.5"),
            shared=True,
        ),
    ] = None
    seed: Annotated[int | None, Option("Random seed of weights, data order and questions.", default=0, least=0)] = None
    dtype: Annotated[
        Literal["float32", "bfloat16", "float64"] | None,
        Option(
            "Type in which the backbone computes. What trains is stored in float32 in any case.",
            default=lambda gpu, tiny: "bfloat16" if gpu and not tiny else "float32",
            offered=("float32", "bfloat16"),
            shared=True,
        ),
    ] = None
    visual_tokens: Annotated[int | None, Option("Most tokens an image may take.", least=1, shared=True)] = None
    quantize: Annotated[bool, Option("Load the base in 4 bits (QLoRA).", default=False, shared=True)] = False
    max_tokens: Annotated[int | None, Option("Most tokens a trajectory may have.", least=1, shared=True)] = None
    too_long: Annotated[
        Literal["error", "drop", "shrink"] | None,
        Option(
            "Over-length policy: stop, leave longer trajectories out, or shrink their images.",
            default="error",
            shared=True,
        ),
    ] = None
    questions: Annotated[
        int | None,
        Option("Number of held-out questions, asked before and after training.", default=512, least=0, may_change=True),
    ] = None
    validate_every: Annotated[int | None, Option("Steps between validations.", least=1, shared=True)] = None
    workers: Annotated[
        int | None,
        Option(
            "Processes that load data.",
            default=lambda gpu, tiny: 4 if gpu else 0,
            least=0,
            shared=True,
            may_change=True,
        ),
    ] = None
    engine: Annotated[
        str | None, Option("How views are encoded.", default="one_pass", offered=ENGINES, shared=True)
    ] = None
    report_to: Annotated[
        tuple[str, ...] | None, Option("A tracker, such as tensorboard or wandb.", default=(), may_change=True)
    ] = None
    resume: Annotated[bool, Option("Go on with the run in --output.", recorded=False)] = False
    command: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_tokens is not None:
            raise RecipeError(
                f"A micro-batch holds so many trajectories or so many tokens, got --batch-size {self.batch_size} and "
                f"--batch-tokens {self.batch_tokens}; give one of them."
            )
        check_options(self)


def options_of(settings: type) -> dict[str, tuple[Any, Option]]:
    """Return by name the type and the option of each field of a settings dataclass that is an option."""
    hints = typing.get_type_hints(settings, include_extras=True)
    return {name: typing.get_args(hint) for name, hint in hints.items() if typing.get_origin(hint) is Annotated}


def check_options(settings: object) -> None:
    """Check every option of a settings dataclass against its bound or its choices.

    Raises:
        ValueError: If one does not fit.
    """
    for name, (kind, own) in options_of(type(settings)).items():
        value = getattr(settings, name)
        if value is None:
            continue
        if own.least is not None and not value >= own.least:
            bound = f"be at least {own.least}" if own.least else "not be negative"
            raise ValueError(f"{name} must {bound}, got {value}.")
        if (known := choices(kind)) and value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}.")


def choices(kind: Any) -> tuple[str, ...]:
    """Return the values of a ``Literal`` type, optional or not; () for any other type."""
    for one in (kind, *typing.get_args(kind)):
        if typing.get_origin(one) is Literal:
            return typing.get_args(one)
    return ()


def check_names(settings: type, given: Iterable[str]) -> None:
    """Refuse names that are no fields of a settings dataclass.

    Raises:
        UnknownNameError: If there is one; it names the closest field.
    """
    known = [item.name for item in fields(settings)]
    for name in given:
        if name not in known:
            raise UnknownNameError("setting", name, known=known)


_OPTIONS = {name: own for name, (_, own) in options_of(RunSettings).items()}
SHARED = tuple(name for name, own in _OPTIONS.items() if own.shared)
MAY_CHANGE = tuple(name for name, own in _OPTIONS.items() if own.may_change)
RECORDED = tuple(name for name, own in _OPTIONS.items() if own.recorded)
FROM_RECIPE = (
    *(name for name in RECORDED if name in {item.name for item in fields(Recipe)}),
    *(name for name in OF_RECIPE if name not in RECORDED),
)


@final
@dataclass(frozen=True)
class Resolved:
    """A value of a run and its origin.

    Args:
        value: The value.
        origin: Who set it; the published values of a recipe are the recipe's.
        over: Another value that it overruled, if there is one.
    """

    value: Any
    origin: Origin
    over: Resolved | None = field(default=None, compare=False)


def run_values(recipe: str, settings: RunSettings, *, gpu: bool) -> dict[str, Resolved]:
    """Return the values that do not depend on the recipe, and the recipe's name and parameters."""
    tiny = str(settings.backbone or BACKBONE).startswith("tiny")
    values: dict[str, Resolved] = {"recipe": Resolved(recipe, "user")}
    for name in (name for name in RECORDED if name not in FROM_RECIPE):
        default = _OPTIONS[name].default
        values[name] = _or(getattr(settings, name), default(gpu=gpu, tiny=tiny) if callable(default) else default)
    for name, value in (settings.parameters or {}).items():
        values[f"parameter.{name}"] = Resolved(value, "user")
    return values


def training_values(settings: RunSettings, recipe: Recipe, profile: Profile) -> dict[str, Resolved]:
    """Return the values of the recipe, with the defaults where it is open and the user's values in place of both."""
    values: dict[str, Resolved] = {}
    for name in FROM_RECIPE:
        values[name] = _last(
            (_OPTIONS[name].default if name in _OPTIONS else None, "default"),
            (getattr(recipe.published, name, None), "recipe"),
            (getattr(profile, name, None), "backbone profile"),
            (getattr(recipe, name), "recipe"),
            (getattr(settings, name, None), "user"),
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
    values["validate_every"] = _or(settings.validate_every, max(1, values["steps"].value // 5))
    return values


def overruled(values: Mapping[str, Resolved], backbone: str) -> list[str]:
    """Return a sentence for each value that overruled another one."""
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
    """Return the last value that is set, and the one before it, if that is another one and not a default."""
    stated = [Resolved(value, origin) for value, origin in said if value is not None]
    over = [one for one in stated[:-1] if one.origin != "default" and one.value != stated[-1].value]
    return replace(stated[-1], over=over[-1] if over else None)


def _or(said: Any, default: Any) -> Resolved:
    """Return what the user set, or the default; tuples as the lists that JSON makes of them."""
    value, origin = (default, "default") if said is None or said is False or said == () else (said, "user")
    return Resolved(list(value) if isinstance(value, tuple) else value, typing.cast("Origin", origin))


Match = Literal["steps", "tokens", "flops"]
MATCHES: tuple[Match, ...] = get_args(Match)
OUTPUT = Path("runs") / "compare"
REGIMES = tuple(f"playground:{name}" for name in ("one-tool-one-call", "many-tools-one-call", "one-tool-many-calls"))


@final
@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """What a user sets for a comparison; each field's help text says what it sets.

    Args:
        entries: What is compared; see ``entries``.
        answer_batch: Questions per forward.
        training: Settings that all runs share, see ``SHARED``.
        command: The command line, for the record.

    Raises:
        ValueError: If a value is out of its range.
        RecipeError: If ``training`` holds something that the comparison decides.
        UnknownNameError: If there is no such scoring or way to match.
    """

    entries: tuple[str, ...]
    seeds: Annotated[int, Option("Number of seeds that each recipe trains with.", least=1)] = 3
    match: Annotated[Match, Option("Budget that all entries share in training.")] = "steps"
    baseline: Annotated[
        str | None, Option("Entry that the others are compared with; the first if not given, or untrained.")
    ] = None
    backbone: Annotated[str | None, Option("A name of `backbones`, a folder, or a hub id.")] = None
    data: Annotated[tuple[str, ...], Option("As for `recipe`; repeated, every entry trains on each of them.")] = ()
    on: Annotated[
        tuple[str, ...],
        Option("Benchmarks, as for `evaluate`; default the playground's three regimes of tool use."),
    ] = ()
    protocol: Annotated[str | None, Option("Protocol of vstar, mmvp and blink, as for `evaluate`.")] = None
    scoring: Annotated[
        str | None, Option("letter-logits, short, free, tools; default: each answers as its recipe does.")
    ] = None
    questions: Annotated[int | None, Option("Number of questions; 512 of the playground, else all.", least=1)] = None
    question_seed: Annotated[int, Option("Random seed of the questions.", least=0)] = 0
    answer_batch: int = 16
    jobs: Annotated[int | None, Option("Runs at once; tiny models take a core each.", least=1)] = None
    output: Annotated[
        str | Path, Option("Folder of the comparison; results that are already there are used again.")
    ] = OUTPUT
    training: Mapping[str, Any] = field(default_factory=dict)
    command: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        from jepa_vlm.generation import Scoring  # brings torch, which the command line's help must not

        if self.match not in MATCHES:
            raise UnknownNameError("way to match", self.match, known=MATCHES)
        check_options(self)
        if self.answer_batch < 1:
            raise ValueError(f"answer_batch must be at least 1, got {self.answer_batch}.")
        if self.scoring is not None and self.scoring not in get_args(Scoring):
            raise UnknownNameError("scoring", self.scoring, known=get_args(Scoring))
        for name in self.training:
            if name not in SHARED:
                raise RecipeError(
                    f"{name} is not a setting of a comparison's runs; those are {', '.join(sorted(SHARED))}."
                )
        for kind, specs in (("on", self.on), ("data", self.data)):
            if len(set(specs)) < len(specs):
                raise RecipeError(f"{kind} names one of {', '.join(specs)} twice.")

    @property
    def benchmarks(self) -> tuple[str, ...]:
        """The columns."""
        return self.on or REGIMES
