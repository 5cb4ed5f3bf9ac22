"""The answers of one model to all benchmarks of a comparison, and what answering took."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast, final

import torch

from jepa_vlm.adapters import Backbone
from jepa_vlm.evaluation import Evaluation, Scored, file_stem, protocol_of
from jepa_vlm.generation import Scoring
from jepa_vlm.runs.environment import device, machine
from jepa_vlm.runs.questions import ask, load_model, own_answering, own_scoring, questions_of
from jepa_vlm.whole_files import write_whole

SPENT = "spent.json"


@final
@dataclass(frozen=True)
class AnswerSettings:
    """The questions of a comparison, and how all its models answer them.

    Args:
        benchmarks: Specs of the benchmarks, in the order of the columns.
        protocol: Protocol of benchmarks that are read from files; None for ``pearl-paper``.
        scoring: How all models answer; None lets each answer as its recipe does.
        count: Number of items of each benchmark; None for all, or for the benchmark's own number.
        seed: Random seed of the items.
        batch_size: Items per forward.
    """

    benchmarks: Sequence[str]
    protocol: str | None = None
    scoring: str | None = None
    count: int | None = None
    seed: int = 0
    batch_size: int = 16

    def folder(self, benchmark: str) -> str:
        """Return the folder name of one benchmark's answers, which contains a digest of the settings."""
        decides = [benchmark, self.protocol_for(benchmark), self.scoring, self.count, self.seed, self.batch_size]
        return f"{file_stem(benchmark)[:60]}-{hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:8]}"

    def protocol_for(self, benchmark: str) -> str | None:
        """Return the protocol's name for a benchmark that takes one, else None."""
        return self.protocol if protocol_of(benchmark, None) is not None else None


@final
@dataclass(frozen=True)
class AnswerCost:
    """What a model's answers to one benchmark took; the last file of the answers, spent.json.

    Args:
        items: Number of items.
        seconds: Wall time; None if answering was interrupted and went on later.
        tokens: Number of generated tokens, latent steps included.
        scoring: How the answers are read.
        machine: The machine, as ``machine`` returns it.
        notes: Differences between the items or the answers and what was published.
    """

    items: int
    seconds: float | None
    tokens: int
    scoring: str
    machine: dict[str, Any]
    notes: list[str]


def answer(model: str, settings: AnswerSettings, to: Path, *, loading: Mapping[str, Any]) -> None:
    """Write a model's answers to every benchmark whose answers are missing.

    Args:
        model: A run's folder, or what ``load_backbone`` takes.
        settings: The questions.
        to: Folder of the model's answers.
        loading: Arguments of ``load_backbone``, where the model is no run.
    """
    missing = [benchmark for benchmark in settings.benchmarks if not _done(to / settings.folder(benchmark))]
    backbone = load_model(model, **loading) if missing else None
    for benchmark in missing:
        _answer(cast("Backbone", backbone), model, benchmark, settings, to / settings.folder(benchmark))


def has_answers(settings: AnswerSettings, to: Path) -> bool:
    """Say whether nothing is missing."""
    return all(_done(to / settings.folder(benchmark)) for benchmark in settings.benchmarks)


def read_answers(settings: AnswerSettings, to: Path) -> dict[str, Evaluation]:
    """Return a model's evaluations by benchmark."""
    return {
        spec: Evaluation.from_json(to / settings.folder(spec) / f"{file_stem(spec)}.json")
        for spec in settings.benchmarks
    }


def read_spent(settings: AnswerSettings, to: Path) -> list[AnswerCost]:
    """Return what answering each benchmark took."""
    files = [to / settings.folder(benchmark) / SPENT for benchmark in settings.benchmarks]
    return [AnswerCost(**json.loads(file.read_text(encoding="utf-8"))) for file in files]


def _done(folder: Path) -> bool:
    return (folder / SPENT).is_file()  # written last


def _answer(backbone: Backbone, model: str, benchmark: str, settings: AnswerSettings, folder: Path) -> None:
    rules = protocol_of(benchmark, settings.protocol_for(benchmark))
    scoring = cast("Scoring", settings.scoring or own_scoring(model, rules))
    questions = questions_of(
        benchmark,
        protocol=settings.protocol_for(benchmark),
        scorings=[scoring],
        count=settings.count,
        seed=settings.seed,
    )
    if scoring != questions.scorings[0]:  # a protocol's own scoring comes first; here it is not asked for
        questions = questions.only(scoring)
    going_on = folder.exists()
    began = time.perf_counter()
    found = ask(
        backbone,
        questions,
        seed=settings.seed,
        batch_size=settings.batch_size,
        output=folder,
        answering=own_answering(model),
    )
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    spent = AnswerCost(
        items=len(questions.items),
        seconds=None if going_on else round(seconds, 3),  # an interrupted evaluation was not timed whole
        tokens=_generated(backbone, found.scored[0]),
        scoring=scoring,
        machine=machine(device()),
        notes=[*questions.notes, *found.notes],
    )
    write_whole(folder / SPENT, json.dumps(asdict(spent), indent=1) + "\n")


def _generated(backbone: Backbone, scored: Scored) -> int:
    """Return how many tokens all answers took, latent steps included; with tools those of all turns."""
    if scored.tool_use is not None:
        return scored.tool_use["tokens"]
    thought = 0 if scored.latent_use is None else scored.latent_use["steps"]
    if scored.protocol.scoring == "letter-logits":
        return thought
    return thought + sum(len(backbone.tokenizer.encode(one.text, add_special_tokens=False)) for one in scored.answers)
