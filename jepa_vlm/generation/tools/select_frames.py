"""``select_frames``: PixelReasoner's tool for videos, offered and refused, since there are only images here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from jepa_vlm.generation.tools.tool import IMAGE_TOOLS, ImageTool, ToolError


def refuse(image: Image.Image, arguments: Mapping[str, Any]) -> Image.Image:
    """Refuse.

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
        run=refuse,
    )
)
