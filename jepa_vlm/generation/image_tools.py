"""Tools that a model may call on images while it answers. They run in this process; no code of a model is ever run.

A new tool is a function here that takes an image and a call's arguments, filed in ``IMAGE_TOOLS`` with its description.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, final

from PIL import Image, ImageDraw

from jepa_vlm.registry import Registry

ToolFunction = Callable[[Image.Image, Mapping[str, object]], Image.Image]  # from picture and arguments


class ToolError(Exception):
    """A call cannot be run. The model reads the error's text, so that it may call again."""


@final
@dataclass(frozen=True)
class ImageTool:
    """A tool with the words that present it to a model.

    Args:
        name: Name by which the model calls it.
        description: Purpose, as the model reads it.
        parameters: Arguments, as a JSON schema.
        run: Function that makes the new picture.
    """

    name: str
    description: str
    parameters: Mapping[str, object]
    run: ToolFunction

    def __call__(self, image: Image.Image, arguments: Mapping[str, object]) -> Image.Image:
        """Run it."""
        return self.run(image, arguments)

    def signature(self) -> dict[str, object]:
        """Return what stands between <tools> and </tools>."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}


IMAGE_TOOLS: Registry[ImageTool] = Registry(
    "image tool", hint="A new one is a function in jepa_vlm/generation/image_tools.py."
)


IN_PIXELS = "minimum value is 0 and maximum value is the width/height of the image."
IN_FRACTIONS = "Values should be within [0.0,1.0]."


def on_a_box(name: str, description: str, run: ToolFunction, *, units: str, verb: str, aim: str) -> ImageTool:
    """File and return a tool whose arguments are ``bbox_2d`` and ``target_image``, in PixelReasoner's words.

    Args:
        name, description, run: As for ``ImageTool``.
        units: Sentence on the units of the box: ``IN_PIXELS`` or ``IN_FRACTIONS``.
        verb: What the tool does to an image: "crop".
        aim: What the tool does to the box's area: "zoom in".
    """
    box = f"coordinates for bounding box of the area you want to {aim}. {units}"
    which = f"The index of the image to {verb}. Index from 1 to the number of images. "
    which += "Choose 1 to operate on original image."
    parameters = {
        "type": "object",
        "properties": {
            "bbox_2d": {"type": "array", "description": box, "items": {"type": "number"}},
            "target_image": {"type": "number", "description": which},
        },
        "required": ["bbox_2d", "target_image"],
    }
    return IMAGE_TOOLS.register(name)(ImageTool(name, description, parameters, run))


class Pixels(NamedTuple):
    """Edges in whole pixels, inside the image."""

    left: int
    top: int
    right: int
    bottom: int


def box_in(image: Image.Image, arguments: Mapping[str, object], *, padding: float = 0.0) -> Pixels:
    """Return the box ``bbox_2d`` in pixels of an image.

    Four numbers of at most 1 are fractions of the image, any others are pixels: models write both, whatever the tool's
    description says. A whole-image box [0, 0, 1, 1] is thus the whole image, not one pixel.

    Args:
        image: The picture that the call names.
        arguments: The call's arguments.
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


PADDING = 0.1  # share of the image's width and height that is added on each side
SMALLEST = 28  # pixels; a crop must be wider and higher
DESCRIPTION = (
    "Zoom in on the image based on the bounding box coordinates. "
    "It is useful when the object or text in the image is too small to be seen."
)


def padded_crop(image: Image.Image, arguments: Mapping[str, object]) -> Image.Image:
    """Return the box with a margin of a tenth of the image around it, cut off at the image's edge.

    Raises:
        ToolError: If the box is not one, or what it leaves is not more than 28 pixels wide and high.
    """
    left, top, right, bottom = box_in(image, arguments, padding=PADDING)
    width, height = right - left, bottom - top
    if width <= SMALLEST or height <= SMALLEST:
        raise ToolError(f"Cropped image is too small: {width}x{height}")
    return image.crop((left, top, right, bottom))


CROP_IMAGE = on_a_box("crop_image", DESCRIPTION, padded_crop, units=IN_PIXELS, verb="crop", aim="zoom in")
CROP_IMAGE_NORMALIZED = on_a_box(
    "crop_image_normalized", DESCRIPTION, padded_crop, units=IN_FRACTIONS, verb="crop", aim="zoom in"
)

COLOR = (255, 0, 0)


def draw_box(image: Image.Image, arguments: Mapping[str, object]) -> Image.Image:
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

FADED = 0.75  # share of white outside the box


def highlight(image: Image.Image, arguments: Mapping[str, object]) -> Image.Image:
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


def refuse_frames(image: Image.Image, arguments: Mapping[str, object]) -> Image.Image:
    """Refuse: there are only images here.

    Raises:
        ToolError: Always.
    """
    raise ToolError(
        "Execution Error: You attempted to `select_frames` from **image** not **video**. "
        "You should use `crop_image_normalized` instead for inspecting **image**."
    )


SELECT_FRAMES = IMAGE_TOOLS.register("select_frames")(
    ImageTool(
        name="select_frames",
        description="Select frames from a video.",
        parameters={
            "type": "object",
            "properties": {
                "target_frames": {
                    "type": "array",
                    "description": "List of frame indices to select from the video (no more than 8 frames in total).",
                    "items": {"type": "integer", "description": "Frame index from 1 to 16."},
                }
            },
            "required": ["target_frames"],
        },
        run=refuse_frames,
    )
)
