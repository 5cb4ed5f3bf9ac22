"""Talk lessons: saying where something is, and writing down a tool call that has been spelled out.

They hold the words and the syntax of a trajectory, as any instruction-tuned model knows them, but no tool's picture and
no way from a question over a look to its answer: that is left for fine-tuning.
"""

from __future__ import annotations

from typing import final

import numpy as np

from jepa_vlm.playground.canvas import GRID
from jepa_vlm.playground.chance import pick
from jepa_vlm.playground.difficulty import Difficulty
from jepa_vlm.playground.lessons.lesson import Lesson, Shown, Teacher, Turn
from jepa_vlm.playground.lessons.scenes import called
from jepa_vlm.playground.scene import scatter
from jepa_vlm.playground.tools import assemble_call, crop_call, draw_path_call, highlight_call
from jepa_vlm.playground.vocabulary import COLORS, MOVES, ORDINALS, TOOL_INSTRUCTION
from jepa_vlm.trajectories import Step, ToolCall


@final
class TalkTeacher(Teacher):
    """Up to four places to say and four calls to write, on a scene."""

    name = "talk"
    turns_per_lesson = 8

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> Lesson:
        """Return one lesson."""
        scene = scatter(rng, difficulty, pinned=[])
        turns = []
        for at in rng.permutation(len(scene.things))[:4]:
            thing = scene.things[at]
            if (name := called(rng, scene, thing)) is not None:
                turns.append(_turn("say", f"Where is the {name}?", f"The {name} is at {thing.place}."))
        while len(turns) < self.turns_per_lesson:
            turns.append(_call(rng))
        return Lesson(scene, tuple(turns), {thing.cell: Shown(thing.color, thing.shape) for thing in scene.things})


def _call(rng: np.random.Generator) -> Turn:
    column, row = rng.integers(1, GRID + 1, 2).tolist()
    tool = pick(rng, ("crop", "wide crop", "highlight", "assemble", "draw_path"))
    place = f"column {column} row {row}"
    if tool == "crop":
        return _written(f"The one is at {place}.", crop_call(column, row))
    if tool == "wide crop":
        column, row = min(column, GRID - 1), min(row, GRID - 1)
        return _written(f"Both are at column {column} row {row}.", crop_call(column, row, cells=2))
    if tool == "highlight":
        return _written(f"The {pick(rng, COLORS)} bar is in column {column}.", highlight_call(column))
    if tool == "assemble":
        piece = int(rng.integers(len(ORDINALS)))
        said = f"The {ORDINALS[piece]} piece is put in {place}."
        return _written(said, assemble_call(piece + 1, column, row))
    moves = [pick(rng, MOVES) for _ in range(int(rng.integers(1, 7)))]
    return _written(f"Go from {place}. {' '.join(moves)}.", draw_path_call(column, row, moves))


def _written(said: str, call: ToolCall) -> Turn:
    return _turn("call", said, Step("", call).spoken)


def _turn(kind: str, question: str, answer: str) -> Turn:
    return Turn(kind, question, answer, instruction=TOOL_INSTRUCTION)
