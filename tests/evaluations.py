"""Evaluations that no model made."""

from __future__ import annotations

from jepa_vlm.evaluation import Accuracy, Evaluation, MarkedAnswer, Protocol, Scored


def made_evaluation(
    right: str, *, scoring: str = "letter-logits", ids: str = "", truth: str = "A", ran: int | None = None
) -> Evaluation:
    """Return an evaluation of one answer for each mark: "1" is right, "0" is wrong (B).

    ``ran``: in how many of them a latent step was taken.
    """
    answers = tuple(
        MarkedAnswer(
            id=ids[i] if ids else f"item-{i}",
            task="search",
            truth=truth,
            predicted=truth if mark == "1" else "B",
            correct=mark == "1",
            text="",
            parse_failed=False,
        )
        for i, mark in enumerate(right)
    )
    n, correct = len(right), right.count("1")
    overall = Accuracy(value=correct / n, correct=correct, n=n, low=0.0, high=1.0, chance=0.25)
    scored = Scored(
        protocol=Protocol(scoring=scoring, max_new_tokens=0),
        answers=answers,
        overall=overall,
        tasks={"search": overall},
        parse_failure_rate=0.0,
        latent_use=None if ran is None else {"answers": ran, "steps": 4 * ran},
    )
    return Evaluation(
        benchmark="playground", backbone="x", seed=0, scored=(scored,), versions={"torch": "2"}, commit=None
    )
