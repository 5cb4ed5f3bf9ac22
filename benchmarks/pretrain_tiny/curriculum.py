"""What is practised when: few large objects before many, names before places, and places before relations.

A circuit comes into being when enough of a batch asks for it, at a high rate, and when what it builds on is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from benchmarks.pretrain_tiny.lessons import EASY, FULL
from jepa_vlm.playground import Difficulty


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
        fitting: Weight of telling the piece that fits a puzzle from the others, in the auxiliary loss.
    """

    pictures: Mapping[str, int]
    letters: float
    listed: float
    difficulty: Difficulty
    fitting: float


@final
@dataclass(frozen=True)
class Stage:
    """A part of the training.

    Args:
        start: The share of the steps that it begins after.
        pictures, listed, difficulty, fitting: Of its batches, as in ``Mix``.
        letters: As in ``Mix``, when it begins and when it ends.
        asides: What some steps show instead, by the step's place in a round of ``ROUND``.
        puzzle_letters: In place of ``letters`` when only puzzles are shown: their answer is first learned as a word.
    """

    start: float
    pictures: Mapping[str, int]
    letters: tuple[float, float]
    listed: float
    difficulty: Difficulty = FULL
    fitting: float = 0.0
    asides: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    puzzle_letters: float | None = None


STEPS = 5000  # of a training, unless it is told another number
SECOND = 0.8  # the share of the steps after which the rate rises once more
ROUND = 8  # steps
PUZZLES, CLOSEUPS, TALKS = {"puzzle": 32}, {"closeup": 64}, {"talk": 20}
NAMES = {"scene": 20, "chart": 4, "maze": 4, "puzzle": 4}
PLACES = {"scene": 8, "place": 9, "relation": 2, "option": 2, "chart": 3, "maze": 3}
RELATIONS = {"scene": 6, "place": 4, "relation": 8, "option": 2, "chart": 2, "maze": 3, "way": 4}
RELATIONS_BY_LETTER = {"scene": 6, "place": 2, "relation": 10, "chart": 2, "maze": 4}
ALL = {"scene": 7, "place": 4, "relation": 4, "option": 2, "chart": 3, "maze": 4, "way": 2}
FEW_PUZZLES = {3: PUZZLES, 7: CLOSEUPS}
MANY_PUZZLES = {1: PUZZLES, 3: PUZZLES, 7: CLOSEUPS}
EVERYTHING = {1: PUZZLES, 3: TALKS, 5: PUZZLES, 7: CLOSEUPS}
MOSTLY_PUZZLES = {0: PUZZLES, 2: TALKS, 3: PUZZLES, 5: PUZZLES, 6: PUZZLES, 7: CLOSEUPS}
STAGES = (
    Stage(0.0, NAMES, (0.2, 0.3), 0.3, EASY),
    Stage(0.056, NAMES, (0.3, 0.5), 0.5, asides={7: CLOSEUPS}),
    Stage(0.232, PLACES, (0.4, 0.4), 0.9, fitting=2.0, asides=FEW_PUZZLES, puzzle_letters=0.2),
    Stage(0.312, RELATIONS, (0.5, 0.5), 0.9, fitting=2.0, asides=MANY_PUZZLES, puzzle_letters=0.2),
    Stage(0.464, RELATIONS_BY_LETTER, (0.6, 0.6), 0.9, fitting=2.0, asides=MANY_PUZZLES, puzzle_letters=0.3),
    Stage(0.592, ALL, (0.5, 0.5), 0.9, fitting=2.0, asides=EVERYTHING, puzzle_letters=0.4),
    Stage(SECOND, ALL, (0.5, 0.5), 0.9, fitting=2.0, asides=MOSTLY_PUZZLES, puzzle_letters=0.3),
)


def curriculum(step: int, steps: int) -> Mix:
    """Return what is practised at a step."""
    progress = step / steps
    number = max(number for number, stage in enumerate(STAGES) if stage.start <= progress)
    stage, end = STAGES[number], STAGES[number + 1].start if number + 1 < len(STAGES) else 1.0
    first, last = stage.letters
    letters = first + (last - first) * (progress - stage.start) / (end - stage.start)
    pictures = stage.asides.get(step % ROUND)
    if pictures is None:
        return Mix(stage.pictures, letters, stage.listed, stage.difficulty, stage.fitting)
    if pictures is PUZZLES and stage.puzzle_letters is not None:
        letters = stage.puzzle_letters
    return Mix(pictures, letters, stage.listed, FULL, stage.fitting)
