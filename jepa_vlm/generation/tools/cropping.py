"""The crop of PixelReasoner, which both of its crop tools make (TIGER-AI-Lab/Pixel-Reasoner@a3a6c3a)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from jepa_vlm.generation.tools.boxes import box_in
from jepa_vlm.generation.tools.tool import ToolError

PADDING = 0.1  # of the image's width and height, on each side
SMALLEST = 28  # pixels; a crop must be wider and higher
DESCRIPTION = (
    "Zoom in on the image based on the bounding box coordinates. "
    "It is useful when the object or text in the image is too small to be seen."
)


def padded_crop(image: Image.Image, arguments: Mapping[str, Any]) -> Image.Image:
    """Return the box with a margin of a tenth of the image around it, cut off at the image's edge.

    Raises:
        ToolError: If the box is not one, or what it leaves is not more than 28 pixels wide and high.
    """
    left, top, right, bottom = box_in(image, arguments, padding=PADDING)
    width, height = right - left, bottom - top
    if width <= SMALLEST or height <= SMALLEST:
        raise ToolError(f"Cropped image is too small: {width}x{height}")
    return image.crop((left, top, right, bottom))
