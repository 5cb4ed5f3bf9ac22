"""An item as its benchmark states it, before a protocol makes a prompt of it."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories import LazyImage

INSTRUCTION = "Answer with the option's letter from the given choices directly."

_OPTION = re.compile(r"\(([A-Za-z])\)")


@final
@dataclass(frozen=True)
class BenchmarkItem:
    """One question of a published benchmark.

    Args:
        benchmark: The benchmark's name: ``"vstar"``.
        id: Unique in the benchmark.
        images: The input images, in order.
        question: The question alone: no options, no instruction.
        options: The options' wordings, in order.
        answer: Index of the right option.
        task: Category or subset.
        group: Items of one group count together (a pair of MMVP), or "".
        source: The benchmark's own text, which some protocols use as it stands: ``text`` of V*, ``Options`` of MMVP,
            ``prompt`` of BLINK.
    """

    benchmark: str
    id: str
    images: tuple[LazyImage, ...]
    question: str
    options: tuple[str, ...]
    answer: int
    task: str
    group: str = ""
    source: str = ""


def split_options(text: str, *, minimum: int = 2) -> tuple[str, tuple[str, ...]]:
    """Return what stands before the options "(A) ... (B) ...", and their wordings.

    Raises:
        DataError: If there are fewer than ``minimum`` options, or their letters are not A, B, C, ... in order.
    """
    question, *parts = _OPTION.split(text)
    letters, options = [letter.upper() for letter in parts[::2]], [option.strip() for option in parts[1::2]]
    if len(options) < minimum or letters != list("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(letters)]):
        raise DataError(f"options must read (A) ... (B) ... in order, at least {minimum} of them, got {text[:80]!r}.")
    return question.strip(), tuple(options)


def option_index(label: str, options: Sequence[str]) -> int:
    """Return the index that a label names: ``A``, ``a`` or ``(A)``.

    Raises:
        DataError: If it names none of the options.
    """
    letter = label.strip().strip("()").upper()
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(options)]
    if len(letter) != 1 or letter not in letters:
        raise DataError(f"the right answer must be one of {', '.join(letters)}, got {label!r}.")
    return letters.index(letter)


def drawn(items: list[BenchmarkItem], count: int | None, seed: int) -> list[BenchmarkItem]:
    """Return ``count`` of the items, drawn without replacement and kept in order; all of them for None."""
    if count is None or count >= len(items):
        return items
    return [items[i] for i in sorted(random.Random(seed).sample(range(len(items)), count))]
