"""What a comparison was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, final, get_args

from jepa_vlm.errors import RecipeError, UnknownNameError
from jepa_vlm.generation import Scoring
from jepa_vlm.runs.comparing.matching import MATCHES, Match
from jepa_vlm.runs.settings import Asked

OUTPUT = Path("runs") / "compare"
REGIMES = tuple(f"playground:{name}" for name in ("one-tool-one-call", "many-tools-one-call", "one-tool-many-calls"))
OWN = ("recipe", "parameters", "backbone", "data", "output", "resume", "seed", "questions", "command", "report_to")


@final
@dataclass(frozen=True, kw_only=True)
class CompareAsked:
    """What the user said.

    Args:
        entries: What is compared; see ``entries``.
        seeds: How many seeds each recipe trains with: 0, 1, ...
        match: What all arms spend alike: ``steps``, ``tokens`` that the decoder computes, or training ``flops``.
        baseline: What the others are held against, and whose steps are the budget; None for the first entry.
        backbone, data: As for a run; every entry trains on each of ``data``.
        on: Benchmarks, the columns; none for the playground's three regimes of tool use.
        protocol: Of benchmarks of files.
        scoring: How all models answer; None lets each answer as its recipe does.
        questions, question_seed, answer_batch: Items of each benchmark, what they are drawn with, how many at once.
        output: The comparison's folder.
        jobs: Processes at a time; None for one on a GPU or for large models, and one for each core otherwise.
        training: Further fields of ``runs.settings.Asked``, the same for all runs.
        command: The command line, for the record.

    Raises:
        ValueError: If a value is out of its range.
        RecipeError: If ``training`` holds something that the comparison decides.
        UnknownNameError: If there is no such scoring or way to match.
    """

    entries: tuple[str, ...]
    seeds: int = 3
    match: Match = "steps"
    baseline: str | None = None
    backbone: str | None = None
    data: tuple[str, ...] = ()
    on: tuple[str, ...] = ()
    protocol: str | None = None
    scoring: str | None = None
    questions: int | None = None
    question_seed: int = 0
    answer_batch: int = 16
    output: Path = OUTPUT
    jobs: int | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    command: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, least in (("seeds", 1), ("answer_batch", 1), ("question_seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}.")
        for name in ("questions", "jobs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        if self.match not in MATCHES:
            raise UnknownNameError("way to match", self.match, known=MATCHES)
        if self.scoring is not None and self.scoring not in get_args(Scoring):
            raise UnknownNameError("scoring", self.scoring, known=get_args(Scoring))
        known = {item.name for item in fields(Asked)} - set(OWN)
        for name in self.training:
            if name not in known:
                raise RecipeError(
                    f"{name} is not a setting of a comparison's runs; those are {', '.join(sorted(known))}."
                )
        for kind, specs in (("on", self.on), ("data", self.data)):
            if len(set(specs)) < len(specs):
                raise RecipeError(f"{kind} names one of {', '.join(specs)} twice.")

    @property
    def benchmarks(self) -> tuple[str, ...]:
        """The columns."""
        return self.on or REGIMES
