"""The settings of a comparison, each stated once: options of ``jepa-vlm compare`` and arguments of ``compare``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, final, get_args

from jepa_vlm.errors import RecipeError, UnknownNameError
from jepa_vlm.runs.settings import SHARED, Option, check_options

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
