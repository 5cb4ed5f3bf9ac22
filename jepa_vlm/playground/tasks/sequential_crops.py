"""Sequential crops: look at one candidate after the other until the wanted shape is found, with one to three crops."""

from __future__ import annotations

from typing import ClassVar, final

import numpy as np

from jepa_vlm.playground.chance import pick
from jepa_vlm.playground.difficulty import Difficulty
from jepa_vlm.playground.scene import scatter
from jepa_vlm.playground.task import Action, Episode, Task
from jepa_vlm.playground.tools import crop_call
from jepa_vlm.playground.vocabulary import COLORS, LETTERS, SHAPES


@final
class SequentialCrops(Task):
    """ "Which of these is a ring?", with four colours that one object each has.

    The expert looks in the order of the options and stops at the ring; after three misses it is the fourth.
    """

    name: ClassVar[str] = "sequential-crops"
    difficulty: ClassVar[Difficulty] = Difficulty(size=(8, 12), objects=(24, 30))

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> Episode:
        """Return one episode with one to three crops."""
        colors = [COLORS[at] for at in rng.permutation(len(COLORS))]
        options, others = tuple(colors[: len(LETTERS)]), colors[len(LETTERS) :]
        shape, index = pick(rng, SHAPES), int(rng.integers(len(LETTERS)))
        wrong = [other for other in SHAPES if other != shape]
        pinned = [(color, shape if i == index else pick(rng, wrong)) for i, color in enumerate(options)]
        scene = scatter(rng, difficulty, pinned=pinned, colors=others)
        actions, seen = [], ""
        for thing in scene.things[: min(index + 1, len(LETTERS) - 1)]:
            text = f"{seen}The {thing.color} one is at {thing.place}."
            actions.append(Action(text, crop_call(*thing.cell)))
            seen = f"It is a {thing.shape}. "
        return Episode(self.name, scene, f"Which of these is a {shape}?", options, index, tuple(actions))
