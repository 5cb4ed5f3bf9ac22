"""Held-out questions on the procedural playground: ``playground`` (the mixture of its tasks), ``playground:TASK``, or
``playground:TASK#KEY=VALUE`` with the options that the data takes.
"""

from __future__ import annotations

from jepa_vlm.evaluation.benchmarks.benchmark import BENCHMARKS
from jepa_vlm.playground import World
from jepa_vlm.trajectories import MultipleChoice
from jepa_vlm.trajectories.load import parse_spec


@BENCHMARKS.register("playground")
def playground_questions(argument: str, *, count: int, seed: int) -> list[MultipleChoice]:
    """Return questions on scenes that no training split contains."""
    return World.of(parse_spec(f"playground:{argument or 'mixture'}")).questions(count=count, seed=seed, split="test")
