"""Boxes as data files have them: in which unit, and how far over the edge of their image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.box import Box
from jepa_vlm.trajectories.formats.fields import choice, four_numbers

UNITS = ("pixels", "fractions", "thousandths")  # thousandths of the image's sides: Qwen2-VL's and Qwen3-VL's
NOISE = 0.001  # of a side: what rounding to three decimals or to float16 adds to 1; or a pixel, if that is more
ROUNDED, CUT = "box clamped (rounding)", "box cut to its image"
OPTIONS = "#boxes=pixels, #boxes=fractions or #boxes=thousandths"
OTHER = f"was it made for another size, or is it in another unit: {OPTIONS}?"
Edges = tuple[float, float, float, float]


@final
@dataclass(frozen=True)
class Boxes:
    """How a file's boxes are read.

    Args:
        units: Those that are possible: one, or pixels and fractions, which a box's edges tell apart.
        cut: Whether a box that reaches over the edge means the edge, as the format's own tool takes it.
        stated: Whether each row states that its box is in pixels, so that even a box of one pixel is believed.
    """

    units: tuple[str, ...]
    cut: bool = False
    stated: bool = False

    @classmethod
    def of(cls, option: str, *default: str, cut: bool = False) -> Boxes:
        """Return what the option ``boxes`` says; "" is the format's default.

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
            DataError: If it is no box, its unit is not certain, or it lies outside the image.
        """
        edges = four_numbers(value, what)
        if not (edges[0] < edges[2] and edges[1] < edges[3]):
            message = f"A box needs left < right and top < bottom, got {edges}; are its corners swapped?"
            raise DataError(message, "box")
        unit = self._unit(edges, size)
        notes: tuple[str, ...] = () if len(self.units) == 1 else (f"box read as {unit}; #boxes= names another unit",)
        sides = _sides(unit, size)
        zero = 0 if unit == "pixels" else 0.0  # cut fractions are said in texts as others are: 0.0, not 0
        left, top, right, bottom = (min(max(edge, zero), side) for edge, side in zip(edges, sides, strict=True))
        place = f"Box {edges}, in {unit},"
        if not (left < right and top < bottom):
            raise DataError(f"{place} lies outside its {size[0]} x {size[1]} image; {OTHER}", "box")
        refusal = ""
        if (left, top, right, bottom) != edges:
            near = _fits(edges, unit, size)
            notes += (ROUNDED if near else CUT,)
            if not (near or self.cut):
                refusal = f"{place} reaches beyond its {size[0]} x {size[1]} image; {OTHER}"
        if unit == "thousandths":
            left, top, right, bottom = left / 1000, top / 1000, right / 1000, bottom / 1000
        return Box(left, top, right, bottom, relative=unit != "pixels", notes=notes, refusal=refusal)

    def _unit(self, edges: Edges, size: tuple[int, int]) -> str:
        """Return the unit of a box."""
        for unit in self.units:
            if self.stated or _is_plausible(edges, unit):
                return unit
        raise DataError(
            f"Box {edges} does not fit {' or '.join(self.units)} of its {size[0]} x {size[1]} image; say what the "
            f"file's boxes are in: {OPTIONS}.",
            "box",
        )


def _sides(unit: str, size: tuple[int, int]) -> Edges:
    """Return where the image ends in a unit, for each edge of a box."""
    across, down = {"pixels": size, "fractions": (1.0, 1.0), "thousandths": (1000.0, 1000.0)}[unit]
    return across, down, across, down


def _is_plausible(edges: Edges, unit: str) -> bool:
    """Say whether edges can be in a unit at all, whatever the image.

    Edges that all lie below 2 are fractions: as pixels they would crop a single one. Fractions of 2 and more, or
    thousandths of 2,000 and more, are in another unit: to cut them to the image would leave all of it.
    """
    if unit == "fractions":
        return max(edges) < 2
    return max(edges) >= 2 and (unit == "pixels" or max(edges) < 2000)


def _fits(edges: Edges, unit: str, size: tuple[int, int]) -> bool:
    """Say whether a box lies in its image, but for rounding."""
    for edge, side, pixels in zip(edges, _sides(unit, size), (*size, *size), strict=True):
        slack = max(NOISE * side, side / pixels) + 1e-9 * side  # the last, since sums of floats are not exact
        if not -slack <= edge <= side + slack:
            return False
    return True
