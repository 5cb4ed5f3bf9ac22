"""Asks a model every item and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from jepa_vlm.adapters import Backbone
from jepa_vlm.errors import DataError
from jepa_vlm.evaluation.protocol import protocol_for
from jepa_vlm.evaluation.provenance import commit, versions
from jepa_vlm.evaluation.results import Accuracy, Answer, Evaluation, Scored
from jepa_vlm.evaluation.statistics import wilson_interval
from jepa_vlm.generation import LetterAnswer, Scoring, answers_by_scoring
from jepa_vlm.trajectories import MultipleChoice


def evaluate(
    backbone: Backbone,
    items: Sequence[MultipleChoice],
    *,
    scorings: Sequence[Scoring] = ("letter-logits",),
    benchmark: str = "",
    seed: int | None = None,
    batch_size: int = 16,
    max_new_tokens: int = 32,
) -> Evaluation:
    """Answer every item under every scoring.

    Args:
        backbone: The model as it is now; its modes are restored.
        items: With unique ids.
        scorings: ``letter-logits``, ``short``, ``free``; the first one is the headline.
        benchmark, seed: Recorded: what the items are, and what they were drawn with.
        batch_size: Prompts per forward.
        max_new_tokens: Limit of ``free``.

    Raises:
        ValueError: If there is no scoring, or one is named twice.
        DataError: If there are no items, or two share an id.
    """
    if not scorings or len(set(scorings)) < len(scorings):
        raise ValueError(f"scorings must name at least one scoring, each once; got {list(scorings)}.")
    if not items:
        raise DataError(f"Benchmark {benchmark!r} has no items, so there is nothing to measure; ask for at least one.")
    twice = [id for id, count in Counter(item.id for item in items).items() if count > 1]
    if twice:
        raise DataError(f"Items need unique ids to be compared across runs; {twice[0]!r} is used more than once.")
    found = answers_by_scoring(backbone, items, scorings=scorings, batch_size=batch_size, max_new_tokens=max_new_tokens)
    scored = []
    for scoring, answers in found.items():
        protocol = protocol_for(backbone.processor, scoring, max_new_tokens=max_new_tokens)
        marked = tuple(_mark(item, answer) for item, answer in zip(items, answers, strict=True))
        tasks = sorted({item.task for item in items})
        scored.append(
            Scored(
                protocol=protocol,
                answers=marked,
                overall=_accuracy(items, marked),
                tasks={task: _accuracy(items, marked, task) for task in tasks},
                parse_failure_rate=sum(answer.parse_failed for answer in marked) / len(marked),
            )
        )
    return Evaluation(
        benchmark=benchmark,
        backbone=backbone.name,
        seed=seed,
        scored=tuple(scored),
        versions=versions(),
        commit=commit(),
    )


def _mark(item: MultipleChoice, answer: LetterAnswer) -> Answer:
    truth = item.letters[item.answer]
    return Answer(
        id=item.id,
        task=item.task,
        truth=truth,
        predicted=answer.letter,
        correct=answer.letter == truth,
        text=answer.text,
        parse_failed=answer.letter is None,
    )


def _accuracy(items: Sequence[MultipleChoice], answers: Sequence[Answer], task: str | None = None) -> Accuracy:
    pairs = [(item, answer) for item, answer in zip(items, answers, strict=True) if task is None or item.task == task]
    correct, n = sum(answer.correct for _, answer in pairs), len(pairs)
    low, high = wilson_interval(correct, n)
    chance = sum(1 / len(item.options) for item, _ in pairs) / n
    return Accuracy(value=correct / n, correct=correct, n=n, low=low, high=high, chance=chance)
