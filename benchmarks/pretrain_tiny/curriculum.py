"""What is practised when: words before letters, few large objects before many small ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from jepa_vlm.playground import Difficulty
from jepa_vlm.playground.lessons import EASY, FULL

EASY_UNTIL = 0.06  # of the steps
LETTERS_FROM, LETTERS_PER_STEP, LETTERS_AT_MOST = 0.06, 2.0, 0.45
CLOSEUP_EVERY = 8  # steps
PICTURES = {"scene": 20, "chart": 4, "maze": 4, "puzzle": 4}
CLOSEUPS = {"closeup": 64}


@final
@dataclass(frozen=True)
class Mix:
    """What a batch is made of, and how hard it is.

    Args:
        pictures: How many pictures of each teacher; all have one size.
        letters: Share of the turns with options that are answered by letter. Of the rest, four in ten of that share are
            answered by one of the listed words, the others by a word that is not listed.
        difficulty: Of the pictures.
    """

    pictures: Mapping[str, int]
    letters: float
    difficulty: Difficulty


def curriculum(step: int, steps: int) -> Mix:
    """Return what is practised at a step."""
    progress = step / steps
    letters = min(LETTERS_AT_MOST, max(0.0, LETTERS_PER_STEP * (progress - LETTERS_FROM)))
    easy = progress < EASY_UNTIL
    if step % CLOSEUP_EVERY == CLOSEUP_EVERY - 1:
        return Mix(CLOSEUPS, letters, FULL)
    return Mix(PICTURES, letters, EASY if easy else FULL)
