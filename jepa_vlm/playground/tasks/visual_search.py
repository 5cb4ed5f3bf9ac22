"""Visual search: an attribute of one small object that its other attribute names; one crop finds it."""

from __future__ import annotations

from typing import ClassVar, final

import numpy as np

from jepa_vlm.playground.chance import choices, pick
from jepa_vlm.playground.difficulty import Difficulty
from jepa_vlm.playground.scene import scatter
from jepa_vlm.playground.task import Action, Episode, Task
from jepa_vlm.playground.tools import crop_call
from jepa_vlm.playground.vocabulary import COLORS, SHAPES


@final
class VisualSearch(Task):
    """ "What color is the ring?", or "What shape is the red object?", where one object alone is a ring, or red."""

    name: ClassVar[str] = "visual-search"

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> Episode:
        """Return one episode with one crop."""
        color, shape = pick(rng, COLORS), pick(rng, SHAPES)
        if rng.random() < 0.5:
            question, named, answer, values = f"What color is the {shape}?", shape, color, COLORS
            scene = scatter(rng, difficulty, pinned=[(color, shape)], shapes=[s for s in SHAPES if s != shape])
        else:
            question, named, answer, values = f"What shape is the {color} object?", f"{color} object", shape, SHAPES
            scene = scatter(rng, difficulty, pinned=[(color, shape)], colors=[c for c in COLORS if c != color])
        target = scene.things[0]
        options, index = choices(rng, answer, values)
        look = Action(f"The {named} is at {target.place}.", crop_call(*target.cell))
        return Episode(self.name, scene, question, options, index, (look,))
