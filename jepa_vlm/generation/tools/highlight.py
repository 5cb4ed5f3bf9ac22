"""``highlight``: the picture with everything outside a box faded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from jepa_vlm.generation.tools.boxes import box_in
from jepa_vlm.generation.tools.tool import IN_FRACTIONS, on_a_box

FADED = 0.75  # share of white outside the box


def highlight(image: Image.Image, arguments: Mapping[str, Any]) -> Image.Image:
    """Return the whole picture, what lies outside the box mixed with white.

    Raises:
        ToolError: If the box is not one.
    """
    box = box_in(image, arguments)
    faded = Image.blend(image, Image.new("RGB", image.size, "white"), FADED)
    faded.paste(image.crop(box), box)
    return faded


HIGHLIGHT = on_a_box(
    "highlight",
    "Fade everything but the bounding box, to look at one part in its place.",
    highlight,
    units=IN_FRACTIONS,
    verb="highlight",
    aim="keep",
)
