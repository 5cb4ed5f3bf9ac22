"""The tools that trajectories call: pure functions from a picture and a call's arguments to a picture.

Every returned side is a multiple of a cell (16 pixels), so that the tiny backbones see whole tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from jepa_vlm.playground.canvas import CELL, GRID
from jepa_vlm.registry import Registry
from jepa_vlm.trajectories import Box, ToolCall

Arguments = Mapping[str, Any]  # of a tool call, JSON values
Tool = Callable[[Image.Image, Arguments], Image.Image]
TOOLS: Registry[Tool] = Registry("playground tool", hint="Tools live in jepa_vlm/playground/tools.py.")

SHIFTS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
BOARD = 5  # cells on a side of a jigsaw's board, which fills the picture's top left
PIECE_ROW, PIECE_COLUMNS = 7, (1, 3, 5, 7)

_ENLARGED = {1: 48, 2: 64}  # side of the returned crop in pixels, by the number of cells on its side


def use(call: ToolCall, picture: Image.Image) -> Image.Image:
    """Return the picture that a call's tool makes of a picture.

    Raises:
        UnknownNameError: If there is no such tool.
    """
    return TOOLS[call.name](picture, call.arguments)


@TOOLS.register("crop")
def crop(picture: Image.Image, arguments: Arguments) -> Image.Image:
    """Return the square of ``cells`` x ``cells`` cells (default 1) from ``column`` and ``row`` on, enlarged."""
    cells = arguments.get("cells", 1)
    box = cell_box(arguments["column"], arguments["row"], cells=cells).in_pixels(*picture.size)
    side = _ENLARGED[cells]
    return picture.crop(box).resize((side, side), Image.Resampling.BICUBIC)


def crop_call(column: int, row: int, *, cells: int = 1) -> ToolCall:
    """Return the call that crops ``cells`` x ``cells`` cells from the given one on; its box is in pixels."""
    arguments = {"column": column, "row": row} | ({"cells": cells} if cells > 1 else {})
    return ToolCall("crop", arguments, box=cell_box(column, row, cells=cells))


@TOOLS.register("highlight")
def highlight(picture: Image.Image, arguments: Arguments) -> Image.Image:
    """Return the picture with everything but ``column`` faded."""
    left = (arguments["column"] - 1) * CELL
    pixels = np.asarray(picture)
    faded = pixels // 4 + 180
    faded[:, left : left + CELL] = pixels[:, left : left + CELL]
    return Image.fromarray(faded, "RGB")


def highlight_call(column: int) -> ToolCall:
    """Return the call that highlights a column; its box is relative."""
    return ToolCall("highlight", {"column": column}, box=Box((column - 1) / GRID, 0, column / GRID, 1, relative=True))


@TOOLS.register("assemble")
def assemble(picture: Image.Image, arguments: Arguments) -> Image.Image:
    """Return the board alone, ``piece`` (1 to 4 from the left) put into the hole at ``column`` and ``row``."""
    piece = picture.crop(cell_box(PIECE_COLUMNS[arguments["piece"] - 1], PIECE_ROW).in_pixels(*picture.size))
    board = picture.crop((0, 0, BOARD * CELL, BOARD * CELL))
    board.paste(piece, cell_box(arguments["column"], arguments["row"]).in_pixels(*board.size)[:2])
    return board


def assemble_call(piece: int, column: int, row: int) -> ToolCall:
    """Return the call that puts a piece into the hole, which is its box."""
    return ToolCall("assemble", {"piece": piece, "column": column, "row": row}, box=cell_box(column, row))


@TOOLS.register("draw_path")
def draw_path(picture: Image.Image, arguments: Arguments) -> Image.Image:
    """Return the picture with the path of ``moves`` from ``column`` and ``row`` drawn in."""
    column, row = arguments["column"], arguments["row"]
    corners = [(column, row)]
    for move in arguments["moves"].split():
        column, row = column + SHIFTS[move][0], row + SHIFTS[move][1]
        corners.append((column, row))
    drawn = picture.copy()
    points = [(at[0] * CELL - CELL // 2, at[1] * CELL - CELL // 2) for at in corners]
    ImageDraw.Draw(drawn).line(points, fill=(230, 0, 160), width=3, joint="curve")
    return drawn


def draw_path_call(column: int, row: int, moves: Sequence[str]) -> ToolCall:
    """Return the call that draws a path. It needs the whole picture, so it has no box."""
    return ToolCall("draw_path", {"column": column, "row": row, "moves": " ".join(moves)})


def cell_box(column: int, row: int, *, cells: int = 1) -> Box:
    """Return the square of ``cells`` x ``cells`` cells whose first cell is the given one, in pixels."""
    left, top = (column - 1) * CELL, (row - 1) * CELL
    return Box(left, top, left + cells * CELL, top + cells * CELL, relative=False)
