"""Draws that tasks share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jepa_vlm.playground.vocabulary import LETTERS


def pick(rng: np.random.Generator, values: Sequence[str]) -> str:
    """Return one of the values, each as likely."""
    return values[int(rng.integers(len(values)))]


def choices(rng: np.random.Generator, answer: str, others: Sequence[str]) -> tuple[tuple[str, ...], int]:
    """Return up to four distinct options in random order, the answer among them, and its index.

    Args:
        rng: Source of chance.
        answer: The right option.
        others: What the wrong options are drawn from; the answer may be among them and is left out.
    """
    wrong = [other for other in others if other != answer]
    order = rng.permutation(len(wrong))[: len(LETTERS) - 1]
    options = [wrong[at] for at in order]
    index = int(rng.integers(len(options) + 1))
    options.insert(index, answer)
    return tuple(options), index
