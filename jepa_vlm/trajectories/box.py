"""A box in an image, whose coordinates say what they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from jepa_vlm.errors import DataError


@final
@dataclass(frozen=True)
class Box:
    """A rectangle. ``relative`` coordinates are fractions of the image, absolute ones are pixels.

    Args:
        left, top, right, bottom: Edges; right and bottom lie outside the box.
        relative: Whether the edges are in [0, 1].

    Raises:
        DataError: If the box is empty or inverted, negative, or relative and beyond 1.
    """

    left: float
    top: float
    right: float
    bottom: float
    relative: bool

    def __post_init__(self) -> None:
        edges = (self.left, self.top, self.right, self.bottom)
        if not (self.left < self.right and self.top < self.bottom):
            raise DataError(f"A box needs left < right and top < bottom, got {edges}; are its corners swapped?", "box")
        if min(edges) < 0:
            raise DataError(f"A box must lie inside its image, got {edges}; an edge is negative.", "box")
        if self.relative and max(edges) > 1:
            raise DataError(
                f"A relative box has edges in [0, 1], got {edges}; are these pixels (relative=False)?", "box"
            )

    def in_pixels(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return (left, top, right, bottom) in whole pixels of an image, at least one pixel wide and high.

        Raises:
            DataError: If the box reaches beyond the image.
        """
        edges = (self.left, self.top, self.right, self.bottom)
        if self.relative:
            edges = (self.left * width, self.top * height, self.right * width, self.bottom * height)
        left, top, right, bottom = (round(edge) for edge in edges)
        if right > width or bottom > height:
            raise DataError(
                f"Box {edges} reaches beyond its {width} x {height} image; was it made for another size?", "box"
            )
        left, top = min(left, width - 1), min(top, height - 1)
        return left, top, max(right, left + 1), max(bottom, top + 1)
