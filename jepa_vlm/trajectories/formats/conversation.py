"""What chat-like formats share: turns, image placeholders, tool calls and answers inside texts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.formats.boxes import Boxes
from jepa_vlm.trajectories.formats.fields import checked, field, shown
from jepa_vlm.trajectories.trajectory import IMAGE, ToolCall

CALL, ANSWER = ("<tool_call>", "</tool_call>"), ("<answer>", "</answer>")


def llava_turns(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (who, text) of each turn of ``conversations``, who being human or gpt, by turns, human first.

    Raises:
        DataError: If a turn is not what it must be, or not in its place.
    """
    turns = []
    for number, turn in enumerate(field(record, "conversations", list)):
        turn = checked(turn, dict, f"conversations[{number}]")
        who, text = field(turn, "from", str), field(turn, "value", str)
        expected = ("human", "gpt")[number % 2]
        if who != expected:
            raise DataError(f"conversations[{number}] must be from {expected!r}, got {shown(who)}.", "turns")
        turns.append((who, text))
    if not turns or len(turns) % 2:
        raise DataError(f"conversations must hold pairs of human and gpt, got {len(turns)} turns.", "turns")
    return turns


def question_of(text: str, images: int) -> str:
    """Return a question whose placeholders are those of ``Trajectory.question``.

    Placeholders before and after all words mean "images first", as LLaVA has it, and go; between words they stay.

    Raises:
        DataError: If there is not one placeholder for each image.
    """
    found = text.count(IMAGE)
    if found != images:
        raise DataError(f"the question has {found} {IMAGE} for {images} images; each image needs one.", "placeholder")
    inner = text.strip()
    while inner.startswith(IMAGE):
        inner = inner.removeprefix(IMAGE).lstrip()
    while inner.endswith(IMAGE):
        inner = inner.removesuffix(IMAGE).rstrip()
    if IMAGE not in inner:
        return inner
    outer = found - inner.count(IMAGE)
    if text.rstrip().endswith(IMAGE):
        raise DataError(
            f"the question has {IMAGE} both inside and after its words; move the last before it.", "placeholder"
        )
    return IMAGE * outer + inner


def split_call(text: str) -> tuple[str, str, Mapping[str, Any] | None]:
    """Return (words, the call as written, the call) of a turn that may end with ``<tool_call>{...}</tool_call>``.

    Raises:
        DataError: If a call is cut short, is no JSON, or is followed by words.
    """
    calls = _between(text, *CALL)
    if not calls:
        if CALL[0] in text:
            raise DataError("a <tool_call> is not closed by </tool_call>.", "tool call")
        return text, "", None
    begin, end = calls[-1]
    if len(calls) > 1 or text[end + len(CALL[1]) :].strip():
        raise DataError(f"a turn must end with its one tool call, got {len(calls)} in {shown(text)}.", "tool call")
    said = text[begin:end]
    try:
        call = checked(json.loads(said), dict, "a tool call")
    except (ValueError, RecursionError):
        raise DataError(f"a tool call must be JSON, got {shown(said)}.", "tool call") from None
    begin -= len(CALL[0])
    return text[:begin], text[begin:].rstrip(), call


def _between(text: str, opening: str, closing: str) -> list[tuple[int, int]]:
    """Return where what stands between two marks begins and ends, each time, left to right.

    In linear time, which a regular expression does not take where many marks open and none closes.
    """
    found, at = [], 0
    while (begin := text.find(opening, at)) >= 0 and (end := text.find(closing, begin)) >= 0:
        found.append((begin + len(opening), end))
        at = end + len(closing)
    return found


def crop_of(call: Mapping[str, Any], sizes: list[tuple[int, int]], *, written: str | None, boxes: Boxes) -> ToolCall:
    """Return a call with the box that it looked at, if its arguments have a ``bbox_2d``.

    ``target_image`` counts from 1.

    Args:
        call: ``{"name", "arguments"}``.
        sizes: Width and height of the images so far.
        written: See ``ToolCall``.
        boxes: How boxes are read.

    Raises:
        DataError: If name, arguments, image or box are not what they must be.
    """
    name, arguments = field(call, "name", str), field(call, "arguments", dict, {})
    target = arguments.get("target_image")
    number = 1 if target is None else checked(target, int, "key 'target_image'")
    if not 1 <= number <= len(sizes):
        raise DataError(f"key 'target_image' must be 1 to {len(sizes)} here, got {number}.", "tool call")
    box = None
    if arguments.get("bbox_2d") is not None:
        box = boxes.read(arguments["bbox_2d"], "key 'bbox_2d'", sizes[number - 1])
    return ToolCall(name, arguments, box, number - 1, written)


def tagged_answer(text: str) -> str:
    """Return what stands in the last ``<answer>...</answer>``, or in the last ``\\boxed{...}``, or the whole text."""
    if found := _between(text, *ANSWER):
        return text[slice(*found[-1])].strip()
    start = text.rfind("\\boxed{")
    if start < 0:
        return text.strip()
    depth, begin = 0, start + len("\\boxed")
    for at in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[begin + 1 : at].strip()
    return text.strip()
