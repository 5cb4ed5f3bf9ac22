"""Held-out questions on the procedural playground: ``playground`` (the mixture of its tasks), ``playground:TASK``, or
``playground:TASK#KEY=VALUE`` with the options that the data takes.
"""

from __future__ import annotations

from jepa_vlm.evaluation.benchmarks.benchmark import BENCHMARKS
from jepa_vlm.playground import World
from jepa_vlm.trajectories import MultipleChoice
from jepa_vlm.trajectories.load import parse_spec

COUNT = 512  # where none is asked for


@BENCHMARKS.register("playground")
def playground_questions(argument: str, *, count: int | None, seed: int) -> list[MultipleChoice]:
    """Return questions on scenes that no training split contains."""
    world = World.of(parse_spec(f"playground:{argument or 'mixture'}"))
    return world.questions(count=COUNT if count is None else count, seed=seed, split="test")
