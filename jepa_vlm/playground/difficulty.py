"""How hard the playground's scenes are: the same dials for every task, each task with its own defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import final

Dials = Mapping[str, tuple[int, int]]  # some of ``Difficulty``'s fields, in place of a task's own
_LIMITS = {"size": (4, 14), "objects": (1, 40), "bars": (4, 7), "path": (1, 10)}


@final
@dataclass(frozen=True)
class Difficulty:
    """Inclusive ranges that scenes are drawn from. Small objects and many of them are hard.

    Args:
        size: Side of an object in pixels, 4 to 14; a cell has 16.
        objects: Objects of a scene, 1 to 40; never fewer than the question needs.
        bars: Bars of a chart, 4 to 7.
        path: Moves from a maze's start to its exit, 1 to 10.

    Raises:
        ValueError: If a range is inverted or beyond its limits.
    """

    size: tuple[int, int] = (5, 7)
    objects: tuple[int, int] = (10, 14)
    bars: tuple[int, int] = (6, 7)
    path: tuple[int, int] = (5, 9)

    def __post_init__(self) -> None:
        for field in fields(self):
            low, high = getattr(self, field.name)
            least, most = _LIMITS[field.name]
            if not least <= low <= high <= most:
                raise ValueError(
                    f"{field.name} must be (low, high) with {least} <= low <= high <= {most}, got {(low, high)}."
                )
