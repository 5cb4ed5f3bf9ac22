"""A box in an image, whose coordinates say what they are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import final

from jepa_vlm.errors import DataError

PLACES = 4  # of a fraction that is computed: a tenth of a pixel in an image of a thousand


@final
@dataclass(frozen=True)
class Box:
    """A rectangle. ``relative`` coordinates are fractions of the image, absolute ones are pixels.

    The image is the picture as viewers show it: turned as its EXIF orientation says.

    Args:
        left, top, right, bottom: Edges; right and bottom lie outside the box.
        relative: Whether the edges are in [0, 1].
        notes: What a reader decided or changed to get these edges, by kind; checks and runs count it.
        refusal: Why a row with this box is refused unless its source is read with ``bad=clamp``, or "".

    Raises:
        DataError: If the box is empty or inverted, negative, or relative and beyond 1.
    """

    left: float
    top: float
    right: float
    bottom: float
    relative: bool
    notes: tuple[str, ...] = field(default=(), compare=False, repr=False)
    refusal: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        if not (self.left < self.right and self.top < self.bottom):
            message = f"A box needs left < right and top < bottom, got {self.edges}; are its corners swapped?"
            raise DataError(message, "box")
        if min(self.edges) < 0:
            raise DataError(f"A box must lie inside its image, got {self.edges}; an edge is negative.", "box")
        if self.relative and max(self.edges) > 1:
            raise DataError(
                f"A relative box has edges in [0, 1], got {self.edges}; are these pixels (relative=False)?", "box"
            )

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        return self.left, self.top, self.right, self.bottom

    def in_pixels(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return (left, top, right, bottom) in whole pixels of an image, at least one pixel wide and high.

        Raises:
            DataError: If the box reaches beyond the image.
        """
        edges = self.edges
        if self.relative:
            edges = (self.left * width, self.top * height, self.right * width, self.bottom * height)
        left, top, right, bottom = (round(edge) for edge in edges)
        if right > width or bottom > height:
            raise DataError(
                f"Box {edges} reaches beyond its {width} x {height} image; was it made for another size?", "box"
            )
        left, top = min(left, width - 1), min(top, height - 1)
        return left, top, max(right, left + 1), max(bottom, top + 1)

    def in_fractions(self, width: int, height: int) -> Box:
        """Return the box with relative edges, those of pixels rounded to ``PLACES``.

        Raises:
            DataError: If it is so thin that rounding leaves nothing of it.
        """
        if self.relative:
            return self
        sides = (width, height, width, height)
        left, top, right, bottom = (round(edge / side, PLACES) for edge, side in zip(self.edges, sides, strict=True))
        return replace(self, left=left, top=top, right=right, bottom=bottom, relative=True)
