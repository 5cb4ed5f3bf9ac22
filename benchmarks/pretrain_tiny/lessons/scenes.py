"""Lessons on scenes of scattered objects: questions, close-ups, and sentences to write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
from PIL import Image

from benchmarks.pretrain_tiny.lessons.lesson import Lesson, Shown, Teacher, Turn, turn
from jepa_vlm.playground.canvas import GRID
from jepa_vlm.playground.scene import Cell, Scene, Thing, pick, scatter
from jepa_vlm.playground.task import Difficulty
from jepa_vlm.playground.tools import assemble_call, crop_call, draw_path_call, highlight_call, use
from jepa_vlm.playground.vocabulary import COLORS, DIRECTIONS, LETTERS, MOVES, ORDINALS, SHAPES, TOOL_INSTRUCTION
from jepa_vlm.trajectories import Step, ToolCall

COUNTS = tuple(str(n) for n in range(5))  # of objects of one colour or one shape
PLACES = tuple(str(n) for n in range(1, GRID + 1))

Asker = Callable[[np.random.Generator, Scene], Turn | None]


@final
class SceneTeacher(Teacher):
    """Questions on one scene, in which one colour or shape was given a number of objects uniform in 0 to 4.

    Args:
        name: Of the teacher.
        weights: How often each kind of question is drawn; one of them must be askable of any scene.
        turns: On one scene; the first asks for the number.
    """

    def __init__(self, *, name: str, weights: Mapping[str, float], turns: int = 8) -> None:
        self._name, self.turns_per_lesson = name, turns
        self.kinds = list(weights)
        self.shares = np.array(list(weights.values())) / sum(weights.values())

    @property
    def name(self) -> str:
        """What the teacher is filed under."""
        return self._name

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> Lesson:
        """Return one lesson."""
        scene, counted = _counted_scene(rng, difficulty)
        turns: list[Turn] = [counted]
        while len(turns) < self.turns_per_lesson:
            kind = self.kinds[int(rng.choice(len(self.kinds), p=self.shares))]
            if (asked := _ASKERS[kind](rng, scene)) is not None:
                turns.append(asked)
        return Lesson(scene, tuple(turns), {thing.cell: Shown(thing.color, thing.shape) for thing in scene.things})


def _counted_scene(rng: np.random.Generator, difficulty: Difficulty) -> tuple[Scene, Turn]:
    """Return a scene and the question how many objects have a certain colour, or shape."""
    number = int(rng.integers(len(COUNTS)))
    if rng.random() < 0.5:
        color = pick(rng, COLORS)
        pinned = [(color, pick(rng, SHAPES)) for _ in range(number)]
        scene = scatter(rng, difficulty, pinned=pinned, colors=[c for c in COLORS if c != color])
        question = f"How many objects are {color}?"
    else:
        shape = pick(rng, SHAPES)
        pinned = [(pick(rng, COLORS), shape) for _ in range(number)]
        scene = scatter(rng, difficulty, pinned=pinned, shapes=[s for s in SHAPES if s != shape])
        question = f"How many objects have the shape {shape}?"
    return scene, turn(rng, "count", question, str(number), COUNTS)


def _color(rng: np.random.Generator, scene: Scene) -> Turn | None:
    thing = _alone(rng, scene, lambda thing: thing.shape)
    return thing and turn(rng, "color", f"What color is the {thing.shape}?", thing.color, COLORS)


def _shape(rng: np.random.Generator, scene: Scene) -> Turn | None:
    thing = _alone(rng, scene, lambda thing: thing.color)
    return thing and turn(rng, "shape", f"What shape is the {thing.color} object?", thing.shape, SHAPES)


def _color_at(rng: np.random.Generator, scene: Scene) -> Turn:
    thing = _any(rng, scene)
    return turn(rng, "color-at", f"What color is the object at {thing.place}?", thing.color, COLORS)


def _shape_at(rng: np.random.Generator, scene: Scene) -> Turn:
    thing = _any(rng, scene)
    return turn(rng, "shape-at", f"What shape is the object at {thing.place}?", thing.shape, SHAPES)


def _column(rng: np.random.Generator, scene: Scene) -> Turn | None:
    return _coordinate(rng, scene, "column", 0)


def _row(rng: np.random.Generator, scene: Scene) -> Turn | None:
    return _coordinate(rng, scene, "row", 1)


def _coordinate(rng: np.random.Generator, scene: Scene, kind: str, axis: int) -> Turn | None:
    thing = _any(rng, scene)
    name = called(rng, scene, thing)
    return None if name is None else turn(rng, kind, f"Which {kind} is the {name} in?", str(thing.cell[axis]), PLACES)


def _relative(rng: np.random.Generator, scene: Scene) -> Turn | None:
    """Two objects of one row or one column."""
    pairs = [(a, b) for a in scene.things for b in scene.things if (a.cell[0] == b.cell[0]) != (a.cell[1] == b.cell[1])]
    if not pairs:
        return None
    thing, anchor = pairs[int(rng.integers(len(pairs)))]
    name, other = called(rng, scene, thing), called(rng, scene, anchor)
    if name is None or other is None:
        return None
    if thing.cell[1] == anchor.cell[1]:
        direction = "left" if thing.cell[0] < anchor.cell[0] else "right"
    else:
        direction = "above" if thing.cell[1] < anchor.cell[1] else "below"
    return turn(rng, "relative", f"Where is the {name} from the {other}?", direction, DIRECTIONS)


def _option(rng: np.random.Generator, scene: Scene) -> Turn:
    """Which letter a word has: no picture is needed, only the way from an answer to its letter.

    Half of the words are digits, whose letter is one token further away: Qwen cuts the space before a digit off.
    """
    values = PLACES if rng.random() < 0.5 else (COLORS, SHAPES, DIRECTIONS, ORDINALS)[int(rng.integers(4))]
    answer = pick(rng, values)
    return turn(rng, "option", f"Which letter is {answer}?", answer, values, needs_options=True)


def _candidates(rng: np.random.Generator, scene: Scene) -> Turn | None:
    """Four colours that one object each has; the right one's shape is no other candidate's."""
    colors = Counter(thing.color for thing in scene.things)
    single = [thing for thing in scene.things if colors[thing.color] == 1]
    if len(single) < len(LETTERS):
        return None
    chosen = [single[at] for at in rng.permutation(len(single))[: len(LETTERS)]]
    shapes = Counter(thing.shape for thing in chosen)
    right = next((thing for thing in chosen if shapes[thing.shape] == 1), None)
    if right is None:
        return None
    options = tuple(chosen[at].color for at in rng.permutation(len(LETTERS)))
    return Turn("candidates", f"Which of these is a {right.shape}?", right.color, options, needs_options=True)


def _total(rng: np.random.Generator, scene: Scene) -> Turn:
    return turn(rng, "total", "How many objects are there?", str(len(scene.things)), [str(n) for n in range(4, 10)])


def _in_row(rng: np.random.Generator, scene: Scene) -> Turn:
    row = int(rng.integers(1, GRID + 1))
    there = sorted((thing for thing in scene.things if thing.cell[1] == row), key=lambda thing: thing.cell)
    listed = ", ".join(thing.name for thing in there) if there else "nothing"
    return Turn("caption", f"What is in row {row}?", listed)


def called(rng: np.random.Generator, scene: Scene, thing: Thing) -> str | None:
    """Return a description that fits this object alone, if its shape, its colour or both together give one."""
    fits = [
        said
        for said, what in (
            (thing.shape, lambda other: other.shape == thing.shape),
            (f"{thing.color} object", lambda other: other.color == thing.color),
            (thing.name, lambda other: other.name == thing.name),
        )
        if sum(map(what, scene.things)) == 1
    ]
    return pick(rng, fits) if fits else None


def _any(rng: np.random.Generator, scene: Scene) -> Thing:
    return scene.things[int(rng.integers(len(scene.things)))]


def _alone(rng: np.random.Generator, scene: Scene, what: Callable[[Thing], str]) -> Thing | None:
    """Return an object that is the only one of its colour, its shape or its name, if there is one."""
    counts = Counter(map(what, scene.things))
    single = [thing for thing in scene.things if counts[what(thing)] == 1]
    return single[int(rng.integers(len(single)))] if single else None


_ASKERS: dict[str, Asker] = {
    "color": _color,
    "shape": _shape,
    "color-at": _color_at,
    "shape-at": _shape_at,
    "column": _column,
    "row": _row,
    "relative": _relative,
    "candidates": _candidates,
    "option": _option,
    "total": _total,
    "caption": _in_row,
}
SCENE = SceneTeacher(
    name="scene",
    weights={
        "color": 5.0,
        "shape": 5.0,
        "color-at": 1.0,
        "shape-at": 1.0,
        "column": 2.5,
        "row": 2.5,
        "relative": 4.0,
        "candidates": 3.0,
        "option": 3.0,
        "total": 0.5,
        "caption": 1.5,
    },
)
PLACE = SceneTeacher(name="place", weights={"column": 3.0, "row": 3.0, "color-at": 1.0, "shape-at": 1.0}, turns=16)
RELATION = SceneTeacher(
    name="relation", weights={"relative": 6.0, "column": 1.0, "row": 1.0, "color-at": 0.5}, turns=16
)
OPTION = SceneTeacher(name="option", weights={"option": 1.0}, turns=16)


@final
@dataclass(frozen=True)
class Closeup:
    """One cell of a scene, enlarged."""

    scene: Scene
    cell: Cell

    @property
    def key(self) -> str:
        """The scene's."""
        return self.scene.key

    def draw(self, rng: np.random.Generator) -> Image.Image:
        """Return what the crop tool makes of the drawn scene."""
        return use(crop_call(*self.cell), self.scene.draw(rng))


@final
class CloseupTeacher(Teacher):
    """Two questions on one crop: the colour and the shape of its object."""

    name = "closeup"
    turns_per_lesson = 2

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> Lesson:
        """Return one lesson."""
        scene = scatter(rng, difficulty, pinned=[])
        thing = scene.things[int(rng.integers(len(scene.things)))]
        turns = (
            turn(rng, "closeup-color", "What color is the object?", thing.color, COLORS),
            turn(rng, "closeup-shape", "What shape is the object?", thing.shape, SHAPES),
        )
        return Lesson(Closeup(scene, thing.cell), turns, None)


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
