"""What is practised when: words before letters, few large objects before many, names before places and relations.

A circuit comes into being when enough of a batch asks for it: letters, places and relations each get their turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from jepa_vlm.playground import Difficulty
from jepa_vlm.playground.lessons import EASY, FULL

EASY_UNTIL = 0.078  # of the steps
LETTERS_FROM, LETTERS_RISE, LETTERS_AT_MOST = 0.078, 2 / 1.3, 0.45  # of the steps, over all of them, share
LISTED_FROM, LISTED = 0.25, 0.9
PLACES_FROM, RELATIONS_FROM = 0.5, 0.65
CLOSEUP_EVERY = 8  # steps
PICTURES = {"scene": 20, "chart": 4, "maze": 4, "puzzle": 4}
PLACES = {"scene": 5, "place": 12, "chart": 2, "maze": 3, "patchwork": 2}
RELATIONS = {"scene": 5, "place": 7, "relation": 3, "chart": 1, "maze": 2, "patchwork": 3, "talk": 3}
CLOSEUPS = {"closeup": 64}
PLACE_LETTERS = 0.25


@final
@dataclass(frozen=True)
class Mix:
    """What a batch is made of, and how hard it is.

    Args:
        pictures: How many pictures of each teacher; all have one size.
        letters: Share of the turns with options that are answered by letter; four tenths of that share is answered by
            one of the listed words, and the rest by a word that is not listed.
        listed: Share that is answered by letter of those turns that make no sense without their options.
        difficulty: Of the pictures.
    """

    pictures: Mapping[str, int]
    letters: float
    listed: float
    difficulty: Difficulty


def curriculum(step: int, steps: int) -> Mix:
    """Return what is practised at a step."""
    progress = step / steps
    letters = min(LETTERS_AT_MOST, max(0.0, LETTERS_RISE * (progress - LETTERS_FROM)))
    listed = letters if progress < LISTED_FROM else LISTED
    if step % CLOSEUP_EVERY == CLOSEUP_EVERY - 1:
        return Mix(CLOSEUPS, letters, listed, FULL)
    if progress < PLACES_FROM:
        return Mix(PICTURES, letters, listed, EASY if progress < EASY_UNTIL else FULL)
    if progress < RELATIONS_FROM:
        return Mix(PLACES, PLACE_LETTERS, listed, FULL)
    return Mix(RELATIONS, letters, listed, FULL)
