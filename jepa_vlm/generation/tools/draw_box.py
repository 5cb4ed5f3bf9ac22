"""``draw_box``: the picture with a box drawn in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image, ImageDraw

from jepa_vlm.generation.tools.boxes import box_in
from jepa_vlm.generation.tools.tool import IN_FRACTIONS, on_a_box

COLOR = (255, 0, 0)


def draw_box(image: Image.Image, arguments: Mapping[str, Any]) -> Image.Image:
    """Return the whole picture with the box's outline in red, a hundredth of the longer side thick.

    Raises:
        ToolError: If the box is not one.
    """
    left, top, right, bottom = box_in(image, arguments)
    drawn = image.copy()
    edges = (left, top, max(left, right - 1), max(top, bottom - 1))
    ImageDraw.Draw(drawn).rectangle(edges, outline=COLOR, width=max(1, max(image.size) // 100))
    return drawn


DRAW_BOX = on_a_box(
    "draw_box",
    "Draw the bounding box into the image, to mark an object.",
    draw_box,
    units=IN_FRACTIONS,
    verb="draw into",
    aim="mark",
)
