"""Boxes in images, and how the boxes of data files are read: their unit, and edges beyond the image."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import final

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.json_values import choice, shown

PLACES = 4  # decimals of a computed fraction: a tenth of a pixel in an image of 1,000 pixels
UNITS = ("pixels", "fractions", "thousandths")  # Qwen2-VL and Qwen3-VL write thousandths of the image's sides
NOISE = 0.001  # what rounding to three decimals or to float16 adds to an edge, as a share of the side
ROUNDED, CUT = "box clamped (rounding)", "box cut to its image"
_OPTIONS = "#boxes=pixels, #boxes=fractions or #boxes=thousandths"
_OTHER = f"was it made for another size, or is it in another unit: {_OPTIONS}?"
Edges = tuple[float, float, float, float]


@final
@dataclass(frozen=True)
class Box:
    """A rectangle in an image. ``relative`` coordinates are fractions of the image, absolute ones are pixels.

    The image is the picture as viewers show it, turned by its EXIF orientation.

    Args:
        left, top, right, bottom: Edges; right and bottom lie outside the box.
        relative: Whether the edges are in [0, 1].
        notes: What the reader of the file decided or changed to get these edges, by kind. Checks and runs count it.
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
        _check_order(self.edges)
        if min(self.edges) < 0:
            raise DataError(f"A box must lie inside its image, got {self.edges}; an edge is negative.", "box")
        if self.relative and max(self.edges) > 1:
            raise DataError(
                f"A relative box has edges in [0, 1], got {self.edges}; are these pixels (relative=False)?", "box"
            )

    @property
    def edges(self) -> Edges:
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
        """Return the box with relative edges; those computed from pixels are rounded to ``PLACES`` decimals.

        Raises:
            DataError: If the box is so thin that rounding makes it empty.
        """
        if self.relative:
            return self
        sides = (width, height, width, height)
        left, top, right, bottom = (round(edge / side, PLACES) for edge, side in zip(self.edges, sides, strict=True))
        return replace(self, left=left, top=top, right=right, bottom=bottom, relative=True)


@final
@dataclass(frozen=True)
class Boxes:
    """How the boxes of a file are read.

    Args:
        units: The possible units: one, or pixels and fractions, which the edges of a box tell apart.
        cut: Whether an edge beyond the image is cut to the image, as the format's own tool does.
        stated: Whether each row states that its box is in pixels, so that even a box of one pixel is accepted.
    """

    units: tuple[str, ...]
    cut: bool = False
    stated: bool = False

    @classmethod
    def of(cls, option: str, *default: str, cut: bool = False) -> Boxes:
        """Return the reading that the option ``boxes`` asks for; "" asks for the format's default units.

        Raises:
            UnknownNameError: If there is no such unit.
        """
        return cls((choice(option, UNITS, "unit of boxes"),) if option else default, cut)

    def read(self, value: object, what: str, size: tuple[int, int]) -> Box:
        """Return a box inside its image, with notes on what was decided and what was changed.

        Args:
            value: A list of left, top, right, bottom.
            what: The key, for messages.
            size: Width and height of the image.

        Raises:
            DataError: If the value is not a box, its unit is not certain, or the box lies outside the image.
        """
        edges = four_numbers(value, what)
        _check_order(edges)
        unit = next((one for one in self.units if self.stated or _is_plausible(edges, one)), None)
        if unit is None:
            raise DataError(
                f"Box {edges} does not fit {' or '.join(self.units)} of its {size[0]} x {size[1]} image; say what the "
                f"file's boxes are in: {_OPTIONS}.",
                "box",
            )
        notes: tuple[str, ...] = () if len(self.units) == 1 else (f"box read as {unit}; #boxes= names another unit",)
        zero = 0 if unit == "pixels" else 0.0  # texts write a cut fraction like any other: 0.0, not 0
        sides = _sides(unit, size)
        left, top, right, bottom = (min(max(edge, zero), side) for edge, side in zip(edges, sides, strict=True))
        place = f"Box {edges}, in {unit},"
        if not (left < right and top < bottom):
            raise DataError(f"{place} lies outside its {size[0]} x {size[1]} image; {_OTHER}", "box")
        refusal = ""
        if (left, top, right, bottom) != edges:
            near = _fits(edges, unit, size)
            notes += (ROUNDED if near else CUT,)
            if not (near or self.cut):
                refusal = f"{place} reaches beyond its {size[0]} x {size[1]} image; {_OTHER}"
        if unit == "thousandths":
            left, top, right, bottom = left / 1000, top / 1000, right / 1000, bottom / 1000
        return Box(left, top, right, bottom, relative=unit != "pixels", notes=notes, refusal=refusal)


def four_numbers(value: object, what: str) -> Edges:
    """Return the value, a list of four finite numbers, as a tuple.

    Raises:
        DataError: If the value is anything else.
    """
    if not (isinstance(value, list) and len(value) == 4 and all(_is_number(number) for number in value)):
        message = f"{what} must be four finite numbers [left, top, right, bottom], got {shown(value)}."
        raise DataError(message, "box")
    left, top, right, bottom = value
    return left, top, right, bottom


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False


def _check_order(edges: Edges) -> None:
    if not (edges[0] < edges[2] and edges[1] < edges[3]):
        message = f"A box needs left < right and top < bottom, got {edges}; are its corners swapped?"
        raise DataError(message, "box")


def _sides(unit: str, size: tuple[int, int]) -> Edges:
    """Return the largest value of each edge in a unit."""
    across, down = {"pixels": size, "fractions": (1.0, 1.0), "thousandths": (1000.0, 1000.0)}[unit]
    return across, down, across, down


def _is_plausible(edges: Edges, unit: str) -> bool:
    """Return whether edges can be in a unit, whatever the image.

    Edges that all lie below 2 are fractions: as pixels they would crop a single one. Fractions of 2 and more, or
    thousandths of 2,000 and more, are in another unit: to cut them to the image would leave all of it.
    """
    if unit == "fractions":
        return max(edges) < 2
    return max(edges) >= 2 and (unit == "pixels" or max(edges) < 2000)


def _fits(edges: Edges, unit: str, size: tuple[int, int]) -> bool:
    """Return whether a box lies in its image up to rounding: a thousandth of the side, or a pixel if that is more."""
    for edge, side, pixels in zip(edges, _sides(unit, size), (*size, *size), strict=True):
        slack = max(NOISE * side, side / pixels) + 1e-9 * side  # the last, since sums of floats are not exact
        if not -slack <= edge <= side + slack:
            return False
    return True
