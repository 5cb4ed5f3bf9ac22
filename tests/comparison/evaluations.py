"""Evaluations written down by hand."""

from __future__ import annotations

from collections.abc import Sequence

from jepa_vlm.evaluation import Accuracy, Evaluation, MarkedAnswer, Protocol, Scored, wilson_interval


def share(marks: Sequence[int]) -> Accuracy:
    low, high = wilson_interval(sum(marks), len(marks))
    return Accuracy(sum(marks) / len(marks), sum(marks), len(marks), low, high, 0.25)


def evaluation(marks: Sequence[int], *, tasks: Sequence[str] = (), benchmark: str = "playground:maze") -> Evaluation:
    """Return an evaluation of as many items as there are marks, the right answer of all of them A."""
    of_item = tasks or ["maze"] * len(marks)
    answers = tuple(
        MarkedAnswer(str(i), task, "A", "A" if mark else "B", bool(mark), "A" if mark else "B", False)
        for i, (mark, task) in enumerate(zip(marks, of_item, strict=True))
    )
    by_task = {
        task: share([mark for mark, own in zip(marks, of_item, strict=True) if own == task])
        for task in sorted(set(of_item))
    }
    scored = Scored(Protocol("letter-logits", 0), answers, share(marks), by_task, 0.0)
    return Evaluation(benchmark, "tiny", 0, (scored,), {}, None)
