"""Images for a page: scaled to a readable size, with boxes, embedded as data URIs."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from PIL import Image, ImageDraw, ImageFont

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories import Box, LazyImage, Trajectory

SMALLEST, LARGEST = 288, 640  # longest side of the largest image on a page, in pixels
COLOURS = ("#e11d48", "#2563eb", "#ca8a04", "#7c3aed", "#0d9488")


@final
@dataclass(frozen=True)
class EmbeddedPicture:
    """An embedded image.

    Args:
        uri: The image as a data URI.
        caption: Text below the image.
        width: Width on the page in pixels.
    """

    uri: str
    caption: str
    width: int


def page_scale(images: Sequence[LazyImage]) -> float:
    """Return the scale of the images of one page: small images grow by a whole factor, large images shrink."""
    longest = max(max(image.size) for image in images)
    return math.ceil(SMALLEST / longest) if longest < SMALLEST else min(1.0, LARGEST / longest)


def picture(
    image: Image.Image, caption: str, *, scale: float, boxes: Sequence[tuple[str, Box]] = ()
) -> EmbeddedPicture:
    """Return an image with labelled boxes.

    Raises:
        DataError: If a box reaches beyond the image.
    """
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    shown = image.convert("RGB").resize(size, Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS)
    for place, (label, box) in enumerate(boxes):
        left, top, right, bottom = (round(edge * scale) for edge in box.in_pixels(*image.size))
        edges = (left, top, max(left, right - 1), max(top, bottom - 1))  # a small box of a large image is a dot
        _draw(shown, label, edges, COLOURS[place % len(COLOURS)])
    held = io.BytesIO()
    shown.save(held, format="PNG", optimize=True)
    return EmbeddedPicture(
        "data:image/png;base64," + base64.b64encode(held.getvalue()).decode("ascii"), caption, shown.width
    )


def trajectory_pictures(trajectory: Trajectory) -> list[EmbeddedPicture]:
    """Return every image of a trajectory, with the boxes of the tool calls on it.

    Raises:
        DataError: If a call names an image that the trajectory lacks, or a box lies outside its image.
    """
    images = trajectory.all_images
    boxes: dict[int, list[tuple[str, Box]]] = {index: [] for index in range(len(images))}
    for step, part in enumerate(trajectory.steps, start=1):
        if part.call is None or part.call.box is None:
            continue
        if part.call.image not in boxes:
            raise DataError(
                f"Trajectory {trajectory.id!r}: step {step} calls {part.call.name!r} on image {part.call.image}, "
                f"but there are {len(images)} images, counted from 0."
            )
        boxes[part.call.image].append((str(step), part.call.box))
    scale = page_scale(images)
    captions = [f"image {i}" for i in range(len(images))]
    for returned in range(len(trajectory.tool_images)):
        captions[len(trajectory.images) + returned] += f", returned by step {returned + 1}"
    return [picture(image.load(), captions[i], scale=scale, boxes=boxes[i]) for i, image in enumerate(images)]


def _draw(image: Image.Image, label: str, edges: tuple[int, int, int, int], colour: str) -> None:
    draw = ImageDraw.Draw(image)
    draw.rectangle(edges, outline="white", width=4)
    draw.rectangle(edges, outline=colour, width=2)
    font = ImageFont.load_default(size=14)
    left, top, right, bottom = draw.textbbox((0, 0), label, font=font)
    width, height = round(right - left) + 8, round(bottom - top) + 6
    x = min(max(edges[0], 0), max(0, image.width - width))
    y = edges[1] - height if edges[1] >= height else min(edges[3] + 1, image.height - height)
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=colour)
    draw.text((x + 4 - left, y + 3 - top), label, fill="white", font=font)
