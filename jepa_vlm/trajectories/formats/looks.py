"""A look at a box of the image: how data that has boxes but no stored crops becomes tool calls with crops."""

from __future__ import annotations

from dataclasses import replace

from jepa_vlm.trajectories.box import Box
from jepa_vlm.trajectories.image import LazyImage
from jepa_vlm.trajectories.trajectory import Step, ToolCall

# The sentences of Pearl's released code (pearl/data.py, get_messages_lvr).
FOCUS = "Now I will focus on the relevant part of the image within the normalized bounding boxes: {}."
RESULT = "Here is the relevant cropped part of the image within the normalized bounding boxes: {}."


def look_at(image: LazyImage, box: Box, text: str, *, style: str) -> Step:
    """Return the step that crops a box out of an image; the crop is cut whenever it is loaded.

    Args:
        image: What is looked at, the trajectory's first.
        box: What of it; said in fractions.
        text: Words before the look.
        style: ``pearl`` says the box in Pearl's sentences; ``original`` calls the crop as JSON.
    """
    box = box.in_fractions(*image.size)
    edges = list(box.edges)
    crop = replace(image, region=box)
    arguments = {"bbox_2d": edges}
    if style == "original":
        return Step(text, ToolCall("crop", arguments, box), crop)
    written = " " * bool(text) + FOCUS.format(edges)
    return Step(text, ToolCall("crop", arguments, box, written=written), crop, RESULT.format(edges))
