"""From marked answers to accuracies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from jepa_vlm.evaluation.results import Accuracy, Answer
from jepa_vlm.evaluation.statistics import wilson_interval
from jepa_vlm.trajectories import MultipleChoice


def accuracy(items: Sequence[MultipleChoice], answers: Sequence[Answer], task: str | None = None) -> Accuracy:
    """Return the share of right answers, of one task or of all."""
    pairs = [(item, answer) for item, answer in zip(items, answers, strict=True) if task is None or item.task == task]
    chances = [1 / len(item.options) for item, _ in pairs]
    return _share([answer.correct for _, answer in pairs], chances)


def accuracy_of_groups(items: Sequence[MultipleChoice], answers: Sequence[Answer]) -> Accuracy | None:
    """Return the share of groups with every answer right; None where no two items form one.

    A group of which only one item is here says nothing about a pair, so it does not count.
    """
    right: dict[str, list[bool]] = defaultdict(list)
    chances: dict[str, float] = defaultdict(lambda: 1.0)
    for item, answer in zip(items, answers, strict=True):
        if item.group:
            right[item.group].append(answer.correct)
            chances[item.group] /= len(item.options)
    whole = [group for group, marks in right.items() if len(marks) > 1]
    if not whole:
        return None
    return _share([all(right[group]) for group in whole], [chances[group] for group in whole])


def _share(marks: Sequence[bool], chances: Sequence[float]) -> Accuracy:
    correct, n = sum(marks), len(marks)
    low, high = wilson_interval(correct, n)
    return Accuracy(value=correct / n, correct=correct, n=n, low=low, high=high, chance=sum(chances) / n)
