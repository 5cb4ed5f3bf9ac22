"""Held-out questions on the procedural playground: ``playground`` (the mixture of its tasks) or ``playground:TASK``."""

from __future__ import annotations

from jepa_vlm import playground
from jepa_vlm.evaluation.benchmarks.benchmark import BENCHMARKS
from jepa_vlm.trajectories import MultipleChoice


@BENCHMARKS.register("playground")
def playground_questions(argument: str, *, count: int, seed: int) -> list[MultipleChoice]:
    """Return questions on scenes that no training split contains."""
    return playground.questions(argument or "mixture", count=count, seed=seed, split="test")
