"""Close-up lessons: what an enlarged cell shows, as the crop tool returns it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from PIL import Image

from jepa_vlm.playground.difficulty import Difficulty
from jepa_vlm.playground.lessons.lesson import Lesson, Teacher, turn
from jepa_vlm.playground.scene import Cell, Scene, scatter
from jepa_vlm.playground.tools import crop_call, use
from jepa_vlm.playground.vocabulary import COLORS, SHAPES


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
