"""Asking a model the items of benchmarks: which ones, how they are read, and how a trained model answers by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from jepa_vlm.adapters import Backbone
from jepa_vlm.evaluation import (
    Evaluation,
    NamedProtocol,
    differences,
    evaluate,
    file_stem,
    load_benchmark,
    protocol_of,
)
from jepa_vlm.evaluation.benchmarks import published_sizes
from jepa_vlm.generation import Scoring
from jepa_vlm.generation.answering import Answering, Plain
from jepa_vlm.runs.environment import device, prepare
from jepa_vlm.training.checkpoint import (
    answering_of,
    find_checkpoint,
    is_checkpoint,
    load_checkpoint,
    load_exported,
    read_origin,
)
from jepa_vlm.trajectories import MultipleChoice


@final
@dataclass(frozen=True)
class Questions:
    """The questions of one benchmark.

    Args:
        spec: Spec of the benchmark.
        items: Items of the benchmark.
        protocol: Protocol by which answers are read; None for a benchmark whose prompts are its own.
        scorings: How they are read; the first one is the headline.
        notes: Differences between the items and what was published.
    """

    spec: str
    items: Sequence[MultipleChoice]
    protocol: NamedProtocol | None
    scorings: Sequence[Scoring]
    notes: tuple[str, ...] = ()

    def only(self, scoring: Scoring) -> Questions:
        """Return the same, read in one way alone."""
        return replace(self, scorings=(scoring,))

    def read_as(self, models: Sequence[str]) -> Questions:
        """Return the same, read as each of the models answers by itself, the first one's way as the headline."""
        return replace(self, scorings=tuple(dict.fromkeys(own_scoring(model, self.protocol) for model in models)))


def questions_of(
    spec: str, *, protocol: str | None, scorings: Sequence[Scoring], count: int | None, seed: int
) -> Questions:
    """Load a benchmark.

    Args:
        spec, protocol, count, seed: As for ``evaluation.load_benchmark``.
        scorings: None given takes the protocol's own, or ``letter-logits``; a named protocol's own always comes first.

    Raises:
        JepaVLMError: As ``evaluation.load_benchmark`` does.
    """
    rules = protocol_of(spec, protocol)
    items = load_benchmark(spec, count=count, seed=seed, protocol=protocol)
    notes = []
    if count is None and (off := differences(items, published_sizes(spec.partition(":")[0], items))):
        notes.append(f"{spec} is not as published, nor comparable with published numbers: {'; '.join(off)}.")
    first: list[Scoring] = ["letter-logits"] if rules is None else [rules.scoring]
    chosen = scorings if scorings and rules is None else [*first, *(name for name in scorings if name not in first)]
    return Questions(spec, items, rules, chosen, tuple(notes))


def ask(
    backbone: Backbone,
    questions: Questions,
    *,
    seed: int,
    batch_size: int = 16,
    output: Path | None = None,
    answering: Answering = Plain(),  # noqa: B008
    progress: Callable[[int], object] | None = None,
) -> Evaluation:
    """Return a model's answers to one benchmark, and write them into the output folder if there is one."""
    found = evaluate(
        backbone,
        questions.items,
        scorings=questions.scorings,
        protocol=questions.protocol,
        benchmark=questions.spec,
        seed=seed,
        batch_size=batch_size,
        samples=output,
        answering=answering,
        progress=progress,
    )
    if output is not None:
        found.to_json(output / f"{file_stem(questions.spec)}.json")
    return found


def load_model(model: str, **loading: Any) -> Backbone:
    """Return the backbone of a run or a checkpoint with its trained weights, or a plain one, on this process's device.

    Args:
        model: A run, a checkpoint, or what ``load_backbone`` takes.
        **loading: Further arguments of ``load_backbone``; a checkpoint knows its own.

    Raises:
        JepaVLMError: If there is no such thing, or the run has not ended.
    """
    checkpoint = find_checkpoint(Path(model))
    prepare(0, backbone=read_origin(checkpoint).backbone if is_checkpoint(checkpoint) else model)
    backbone = load_checkpoint(checkpoint) if is_checkpoint(checkpoint) else load_exported(model, **loading)
    backbone.model.to(device())  # type: ignore[arg-type]
    return backbone


def own_scoring(model: str, rules: NamedProtocol | None) -> Scoring:
    """Return how a model's answers are read: as its recipe says, else as the protocol does.

    Args:
        model: A run, or anything that ``load_model`` takes.
        rules: The protocol, or None for the library's own.
    """
    return own_answering(model).scoring("letter-logits" if rules is None else rules.scoring)


def own_answering(model: str) -> Answering:
    """Return how a model answers: as its recipe says, or by plain generation.

    Args:
        model: A run, or anything that ``load_model`` takes.
    """
    return answering_of(find_checkpoint(Path(model)))
