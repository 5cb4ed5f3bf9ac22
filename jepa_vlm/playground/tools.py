"""The tools that trajectories call: pure functions from a picture and a call's arguments to a picture.

Every returned side is a multiple of a cell (16 pixels), so that the tiny backbones see whole tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image

from jepa_vlm.playground.canvas import CELL
from jepa_vlm.registry import Registry
from jepa_vlm.trajectories import Box, ToolCall

Tool = Callable[[Image.Image, Mapping[str, Any]], Image.Image]
TOOLS: Registry[Tool] = Registry("playground tool", hint="Tools live in jepa_vlm/playground/tools.py.")

_ENLARGED = {1: 48, 2: 64}  # side of the returned crop, by the cells that it spans


def use(call: ToolCall, picture: Image.Image) -> Image.Image:
    """Return what a call's tool makes of the picture.

    Raises:
        UnknownNameError: If there is no such tool.
    """
    return TOOLS[call.name](picture, call.arguments)


def cell_box(column: int, row: int, *, cells: int = 1) -> Box:
    """Return the square of ``cells`` x ``cells`` cells whose first cell is the given one, in pixels."""
    left, top = (column - 1) * CELL, (row - 1) * CELL
    return Box(left, top, left + cells * CELL, top + cells * CELL, relative=False)


@TOOLS.register("crop")
def crop(picture: Image.Image, arguments: Mapping[str, Any]) -> Image.Image:
    """Return the square at ``column`` and ``row``, ``cells`` cells wide (1 if not said), enlarged."""
    cells = arguments.get("cells", 1)
    box = cell_box(arguments["column"], arguments["row"], cells=cells).in_pixels(*picture.size)
    side = _ENLARGED[cells]
    return picture.resize((side, side), Image.Resampling.BICUBIC, box=box)


def crop_call(column: int, row: int, *, cells: int = 1) -> ToolCall:
    """Return the call that crops ``cells`` x ``cells`` cells from the given one on."""
    arguments = {"column": column, "row": row} | ({"cells": cells} if cells > 1 else {})
    return ToolCall("crop", arguments, box=cell_box(column, row, cells=cells))
