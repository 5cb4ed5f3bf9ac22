"""The box of a call, whatever a model wrote there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from PIL import Image

from jepa_vlm.generation.tools.tool import ToolError


class Pixels(NamedTuple):
    """Edges in whole pixels, inside the image."""

    left: int
    top: int
    right: int
    bottom: int


def box_in(image: Image.Image, arguments: Mapping[str, Any], *, padding: float = 0.0) -> Pixels:
    """Return the box ``bbox_2d`` in pixels of an image.

    Four numbers of at most 1 are fractions of the image, any others are pixels: models write both, whatever the tool's
    description says. A whole-image box [0, 0, 1, 1] is thus the whole image, not one pixel.

    Args:
        image: Which the call is about.
        arguments: Of the call.
        padding: Added on every side, as a fraction of the image's width or height; what then lies outside is cut off.

    Raises:
        ToolError: If the box is not four finite numbers, is inverted, or lies outside the image.
    """
    edges = arguments.get("bbox_2d")
    if not isinstance(edges, list) or len(edges) != 4 or not all(map(_is_number, edges)):
        raise ToolError("`bbox_2d` must be four finite numbers [left, top, right, bottom].")
    width, height = image.size
    if max(edges) > 1:
        edges = [edges[0] / width, edges[1] / height, edges[2] / width, edges[3] / height]
    left, top, right, bottom = edges
    if left > right or top > bottom:
        raise ToolError("`bbox_2d` must have left <= right and top <= bottom.")
    if right <= 0 or bottom <= 0 or left >= 1 or top >= 1:
        raise ToolError(f"`bbox_2d` lies outside the image, whose size is {width}x{height}.")
    return Pixels(
        round(_clamped(left - padding) * width),
        round(_clamped(top - padding) * height),
        round(_clamped(right + padding) * width),
        round(_clamped(bottom + padding) * height),
    )


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e9 if isinstance(value, int) else math.isfinite(value)


def _clamped(fraction: float) -> float:
    return min(max(fraction, 0.0), 1.0)
