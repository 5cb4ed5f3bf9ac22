"""What a benchmark is, and where benchmarks are filed."""

from __future__ import annotations

from typing import Protocol

from jepa_vlm.registry import Registry
from jepa_vlm.trajectories import MultipleChoice


class Benchmark(Protocol):
    """Makes the items of a benchmark."""

    def __call__(self, argument: str, *, count: int, seed: int) -> list[MultipleChoice]:
        """Return ``count`` items; ``argument`` is what follows the colon of a spec, or ""."""
        ...


BENCHMARKS: Registry[Benchmark] = Registry("benchmark", hint="A new one is one file in jepa_vlm/evaluation/benchmarks.")


def load_benchmark(spec: str, *, count: int = 256, seed: int = 0) -> list[MultipleChoice]:
    """Return the items of a spec: ``"playground"``, ``"playground:visual-search"``.

    Args:
        spec: A benchmark's name, and after a colon what it takes.
        count: How many items, at least 1.
        seed: What they are drawn with.

    Raises:
        ValueError: If ``count`` is below 1.
        UnknownNameError: If there is no such benchmark, or it has no such part.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}.")
    name, _, argument = spec.partition(":")
    return BENCHMARKS[name](argument, count=count, seed=seed)
