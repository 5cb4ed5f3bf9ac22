"""What a tool is, and where tools are filed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

from PIL import Image

from jepa_vlm.registry import Registry

ToolFunction = Callable[[Image.Image, Mapping[str, Any]], Image.Image]  # from a picture and a call's arguments


class ToolError(Exception):
    """A call cannot be run. Its text is what the model is told, so that it may call again."""


@final
@dataclass(frozen=True)
class ImageTool:
    """A tool with the words that present it to a model.

    Args:
        name: What a call names.
        description: What it is good for.
        parameters: Its arguments, as a JSON schema.
        run: What it does.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    run: ToolFunction

    def __call__(self, image: Image.Image, arguments: Mapping[str, Any]) -> Image.Image:
        """Run it."""
        return self.run(image, arguments)

    def signature(self) -> dict[str, Any]:
        """Return what stands between <tools> and </tools>."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}


IMAGE_TOOLS: Registry[ImageTool] = Registry("image tool", hint="A new one is one file in jepa_vlm/generation/tools.")


IN_PIXELS = "minimum value is 0 and maximum value is the width/height of the image."
IN_FRACTIONS = "Values should be within [0.0,1.0]."


def on_a_box(name: str, description: str, run: ToolFunction, *, units: str, verb: str, aim: str) -> ImageTool:
    """File and return a tool whose arguments are ``bbox_2d`` and ``target_image``, in PixelReasoner's words.

    Args:
        name: What a call names.
        description: What it is good for.
        run: What it does.
        units: Of the box: ``IN_PIXELS`` or ``IN_FRACTIONS``.
        verb: What is done to an image: "crop".
        aim: What is done to the box's area: "zoom in".
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
