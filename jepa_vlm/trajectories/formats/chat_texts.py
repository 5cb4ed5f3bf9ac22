"""Texts of chats, shared by several formats: turns, image placeholders, tool calls and answers inside texts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.box import Boxes
from jepa_vlm.trajectories.formats.records import Keys
from jepa_vlm.trajectories.json_values import JsonObject, checked, field, parse_json, shown
from jepa_vlm.trajectories.trajectory import ToolCall

IMAGE = "<image>"  # the place of an image, in texts of formats that define it
NO_PICTURES = ("<video>", "<audio>")  # the place of something that is no picture, in the same texts
NEVER_WORDS = ("<bbox>", "<ref-object>")  # placeholders that other libraries fill in
TURN_KEYS = Keys(("from", "value"), json_text=True)  # keys of a turn, see ``llava_turns``
CALL, ANSWER = ("<tool_call>", "</tool_call>"), ("<answer>", "</answer>")


def llava_turns(record: JsonObject) -> list[str]:
    """Return the texts of ``conversations``: human and gpt alternate, human first.

    Raises:
        DataError: If a turn has a wrong value or stands in the wrong place.
    """
    turns = []
    for number, turn in enumerate(field(record, "conversations", list)):
        turn = checked(turn, dict, f"conversations[{number}]")
        who, text = field(turn, "from", str), without_placeholders(field(turn, "value", str))
        expected = ("human", "gpt")[number % 2]
        if who != expected:
            raise DataError(f"conversations[{number}] must be from {expected!r}, got {shown(who)}.", "turns")
        turns.append(text)
    if not turns or len(turns) % 2:
        raise DataError(f"conversations must hold pairs of human and gpt, got {len(turns)} turns.", "turns")
    return turns


Parts = Sequence[str | None]
"""The content of a turn, in order: texts, and None for each image."""


def words_of(parts: Parts) -> str:
    """Return the texts of a turn's parts, joined."""
    return "".join(part or "" for part in parts)


def parts_of(text: str) -> list[str | None]:
    """Return the parts of a text that may hold ``<image>``.

    Raises:
        DataError: If it holds another placeholder.
    """
    return split_at_images(without_placeholders(text, *NO_PICTURES))


def split_at_images(text: str) -> list[str | None]:
    """Return the parts of a text; every ``<image>`` becomes an image."""
    first, *others = text.split(IMAGE)
    return [first, *(part for other in others for part in (None, other))]


def without_placeholders(text: str, *further: str) -> str:
    """Return the text after a check that it holds none of ``NEVER_WORDS`` and none of the further placeholders.

    Raises:
        DataError: If it holds one.
    """
    if found := [one for one in (*NEVER_WORDS, *further) if one in text]:
        message = (
            f"a text holds the placeholder {found[0]!r}, which nothing is put in place of; write out what it stands "
            'for, or, if it is meant as a word, write the row as messages with {"type": "text"} parts.'
        )
        raise DataError(message, "placeholder")
    return text


def placed(parts: Parts) -> tuple[str, tuple[int, ...]]:
    """Return the words of a question, and the places of its images in them, as ``Trajectory`` stores them.

    Images before all words have no places; blanks between them and the words are dropped.
    """
    texts = [part or "" for part in parts]
    texts[0], texts[-1] = texts[0].lstrip(), texts[-1].rstrip()
    words, ends = "".join(texts), accumulate(map(len, texts))
    places = tuple(end for end, part in zip(ends, parts, strict=True) if part is None)
    return (words, places) if words[: max(places, default=0)].strip() else (words.strip(), ())


def question_of(text: str, images: int, *, ends_first: bool = False) -> tuple[str, tuple[int, ...]]:
    """Return the words of a question that has a placeholder for each image, and the images' places in the words.

    Args:
        text: The question.
        images: Number of images.
        ends_first: Whether images behind all words come first, as in LLaVA's code, unless others stand between words.

    Raises:
        DataError: If there is not one placeholder for each image.
    """
    parts = parts_of(text)
    if (found := parts.count(None)) != images:
        raise DataError(f"the question has {found} {IMAGE} for {images} images; each image needs one.", "placeholder")
    words, places = placed(parts)
    inside = [place for place in places if words[:place].strip() and words[place:].strip()]
    return (words.strip(), ()) if ends_first and not inside else (words, places)


def split_call(text: str) -> tuple[str, str, JsonObject | None]:
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
        call = checked(parse_json(said), dict, "a tool call")
    except ValueError as err:
        raise DataError(f"a tool call must be JSON, got {shown(said)} ({err}).", "tool call") from None
    begin -= len(CALL[0])
    return text[:begin], text[begin:].rstrip(), call


def _between(text: str, opening: str, closing: str) -> list[tuple[int, int]]:
    """Return begin and end of every stretch between two marks, left to right.

    A regular expression would take quadratic time if many marks open and none closes.
    """
    found, at = [], 0
    while (begin := text.find(opening, at)) >= 0 and (end := text.find(closing, begin)) >= 0:
        found.append((begin + len(opening), end))
        at = end + len(closing)
    return found


def crop_of(call: JsonObject, sizes: list[tuple[int, int]], *, written: str | None, boxes: Boxes) -> ToolCall:
    """Return a tool call, with a box if its arguments have a ``bbox_2d``. Their ``target_image`` counts from 1.

    Args:
        call: ``{"name", "arguments"}``.
        sizes: Width and height of the images so far.
        written: See ``ToolCall``.
        boxes: How boxes are read.

    Raises:
        DataError: If name, arguments, image or box cannot be used.
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
    """Return the content of the last ``<answer>...</answer>``, or of the last ``\\boxed{...}``, or the whole text."""
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
