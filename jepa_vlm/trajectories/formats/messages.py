"""Chat messages as TRL, the OpenAI API and ms-swift have them: ``messages`` and ``images``, in JSON or in parquet.

A line is ``{"messages": [...], "images": [PATH, ...]}``, or ``{"prompt", "completion", "images"}`` with lists of
messages or texts. A message is ``{"role", "content"}`` with role system (or developer), user, assistant or tool. Its
content is a list of PARTs or a text. In a user's or a tool's text of a row with ``images``, ``<image>`` stands for the
next image; everywhere else it is a word. A PART is one of

    {"type": "text", "text"}                             also of type input_text or output_text
    {"type": "image"}                                    the next of the row's images
    {"type": "image", "image": PATH}                     an image in place; also with the key path or url
    {"type": "image_url", "image_url": {"url": PATH}}    or input_image; also "image_url": PATH

Several user messages at the beginning are one question, a line for each. An assistant message may end with a
``<tool_call>{...}</tool_call>`` or have ``tool_calls: [{"function": {"name", "arguments"}}]``, of which there may be
one. A tool's message, a user's message after a call, or one inside ``<tool_response>`` shows the tool's one image. A
chat that goes on otherwise has several turns, which no trajectory holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import final

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.box import Boxes
from jepa_vlm.trajectories.formats.chat_texts import (
    IMAGE,
    Parts,
    crop_of,
    parts_of,
    placed,
    split_call,
    tagged_answer,
    without_placeholders,
    words_of,
)
from jepa_vlm.trajectories.formats.images import ImageRoots
from jepa_vlm.trajectories.formats.json_files import JsonRecords
from jepa_vlm.trajectories.formats.records import FORMATS, Keys, OpenImage, ParsedRows, Records
from jepa_vlm.trajectories.formats.tables import CELL, HubPath, is_table, open_tables
from jepa_vlm.trajectories.json_values import JsonObject, checked, field, parse_json, shown
from jepa_vlm.trajectories.rows import Joined, Rows
from jepa_vlm.trajectories.trajectory import Step, Trajectory

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
TEXTS, IMAGES = ("text", "input_text", "output_text"), ("image", "image_url", "input_image")
REFERENCES = ("image", "path", "url", "image_url")  # keys of a part that holds its image
RESPONSE = "<tool_response>"
PART = Keys(("type", "text", "path", "url"), {"image": CELL, "image_url": Keys(("url",), labels=("detail",))})
CALL = Keys(inside={"function": Keys(("name", "arguments"))}, labels=("id", "type", "index"))
MESSAGE = Keys(("role",), {"content": PART, "tool_calls": CALL}, ("id", "name", "tool_call_id"))
KEYS = Keys(
    ("task",),
    {"messages": MESSAGE, "prompt": MESSAGE, "completion": MESSAGE, "images": CELL},
    ("id", "source", "dataset", "data_source", "split"),
)


@FORMATS.register("messages")
def read_messages(
    path: Path | HubPath, *, images: str = "", roots: str = "", boxes: str = "", split: str = "train"
) -> Rows:
    """Return one row for each chat.

    Args:
        path: The file, a folder of parquet files, or a data set on the hub.
        images: Folder that image paths are relative to; by default the file's.
        roots: A JSON file of folders by the beginning of a path, as for ``lvr``.
        boxes: The unit of boxes. By default, boxes whose edges all lie below 2 are read as fractions and others as
            pixels, which is noted on the row. Boxes in thousandths (Qwen2-VL's and Qwen3-VL's) need the option.
        split: The split to read, in a folder of several or on the hub.
    """
    read = Boxes.of(boxes, "pixels", "fractions")

    def rows(records: Records, folder: Path | None) -> Rows:
        opened = ImageRoots.of(images or folder, roots).image
        return ParsedRows(records, partial(_trajectory, boxes=read), KEYS, opened)

    if isinstance(path, HubPath) or is_table(path):
        return Joined([rows(records, folder) for _, folder, records in open_tables(path, {}, split=split)])
    return rows(JsonRecords(path), path.parent)


def _trajectory(record: JsonObject, identity: str, image: OpenImage, *, boxes: Boxes) -> Trajectory:
    paths = None if record.get("images") is None else iter(field(record, "images", list))
    turns = [_turn(checked(one, dict, f"message {i}"), i, paths) for i, one in enumerate(_listed(record))]
    if paths is not None and (left := len(list(paths))) > 0:
        message = (
            f"{left} of the images have no place in the messages; each needs an {IMAGE} in the text of a user or tool"
        )
        raise DataError(message + ', or a part {"type": "image"}.', "placeholder")
    system, asked, *later = _by_turns(turns)
    images = [image(one) for one in asked.images]
    sizes, steps = [one.size for one in images], []
    for said, seen in zip(later[:-1:2], later[1::2], strict=True):
        words, written, call = _call(said)
        if call is None and seen.role == "user" and RESPONSE not in seen.text:
            reason = f"a user speaks again with no tool call before it and no {RESPONSE} in it"
            message = f"a chat of several turns is not read: {reason}; keep one question and its answer."
            raise DataError(message, "several turns")
        if len(seen.images) != 1:
            message = f"a turn after the first must show the tool's one image, got {len(seen.images)}."
            raise DataError(message, "turns")
        result = image(seen.images[0])
        made = None if call is None else crop_of(call, sizes, written=written, boxes=boxes)
        sizes.append(result.size)
        observation, places = placed(seen.parts)
        steps.append(Step(words, made, result, observation, *places))
    last, _, call = _call(later[-1])
    if call is not None:
        raise DataError("the last turn must be the answer, but it ends with a tool call.", "tool call")
    question, places = placed(asked.parts)
    return Trajectory(
        id=identity,
        images=tuple(images),
        question=question,
        steps=(*steps, Step(last.strip())),
        answer=tagged_answer(last),
        task=field(record, "task", str, ""),
        system=system.text,
        image_places=places,
    )


def _listed(record: JsonObject) -> list[object]:
    """Return a record's messages."""
    given = [key for key in ("messages", "prompt", "completion") if record.get(key) is not None]
    if given == ["messages"]:
        return field(record, "messages", list)
    if given != ["prompt", "completion"]:
        keys = shown(", ".join(record))
        raise DataError(f"a row must have the key 'messages', or else 'prompt' and 'completion', got {keys}.", "key")
    listed: list[object] = []
    for key, role in (("prompt", "user"), ("completion", "assistant")):
        text = isinstance(record[key], str)
        listed += [{"role": role, "content": record[key]}] if text else field(record, key, list)
    return listed


@final
@dataclass(frozen=True)
class _Turn:
    """A message.

    Args:
        role: One of ``ROLES``.
        parts: Its texts, and None for each image.
        images: References to its images.
        call: The tool call in ``tool_calls``, if there is one.
    """

    role: str
    parts: Parts = ("",)
    images: tuple[object, ...] = ()
    call: JsonObject | None = None

    @property
    def text(self) -> str:
        return words_of(self.parts)


def _by_turns(turns: list[_Turn]) -> list[_Turn]:
    """Return the system's turn, the question, and then by turns an answer and the images that a tool shows."""
    roles = [turn.role for turn in turns]
    system = turns.pop(0) if roles[:1] == ["system"] else _Turn("system")
    asked: list[_Turn] = []
    while turns and turns[0].role == "user":
        asked.append(turns.pop(0))
    by_turns = all((turn.role == "assistant") == (i % 2 == 0) and turn.role != "system" for i, turn in enumerate(turns))
    if not asked or len(turns) % 2 == 0 or not by_turns:
        raise DataError(f"messages must be user and assistant by turns, got {shown(', '.join(roles))}.", "turns")
    parts = [part for turn in asked for part in ("\n", *turn.parts)][1:]
    question = _Turn("user", parts, tuple(one for turn in asked for one in turn.images))
    return [system, question, *turns]


def _turn(message: JsonObject, number: int, paths: Iterator[object] | None) -> _Turn:
    role, content = field(message, "role", str), message.get("content")
    if role not in ROLES:
        known = ", ".join(ROLES)
        raise DataError(f"the role of message {number} must be one of {known}, got {shown(role)}.", "turns")
    shows = ROLES[role] in ("user", "tool")
    if isinstance(content, list):
        read = [_part(checked(part, dict, f"a part of message {number}"), number, paths) for part in content]
        parts: Parts = [text for text, _ in read] or [""]
        images = tuple(reference for text, reference in read if text is None)
    else:
        text = "" if content is None else checked(content, str, f"the content of message {number}")
        parts = parts_of(text) if shows and paths is not None else [without_placeholders(text)]
        images = tuple(_next(paths, number) for part in parts if part is None)
    calls = field(message, "tool_calls", list, [])
    if len(calls) > 1:
        raise DataError(f"message {number} may make one tool call, got {len(calls)}.", "tool call")
    if (images and not shows) or (calls and ROLES[role] != "assistant"):
        done = "makes a tool call; only assistants may" if calls else "shows an image; only users and tools may"
        raise DataError(f"a message of role {role!r} {done}.", "turns")
    call = field(checked(calls[0], dict, "a tool call"), "function", dict) if calls else None
    return _Turn(ROLES[role], parts, images, call)


def _part(part: JsonObject, number: int, paths: Iterator[object] | None) -> tuple[str | None, object]:
    """Return the text of a part, or the reference to its image."""
    kind = field(part, "type", str)
    if kind in TEXTS:
        return field(part, "text", str), None
    if kind not in IMAGES:
        raise DataError(f"a part of message {number} must be a text or an image, got {kind!r}.", "key")
    held = [part[key] for key in REFERENCES if part.get(key) is not None]
    if len(held) > 1 or not (held or kind == "image"):
        raise DataError(f"a part {kind!r} of message {number} must hold one image, got {len(held)}.", "key")
    return None, held[0] if held else _next(paths, number)


def _call(turn: _Turn) -> tuple[str, str | None, JsonObject | None]:
    """Return words, how the call is written (None: as JSON), and the call."""
    words, written, call = split_call(turn.text)
    if turn.call is None:
        return words, written, call
    if call is not None:
        raise DataError("a message makes its tool call twice, in its text and in tool_calls.", "tool call")
    arguments = turn.call.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = parse_json(arguments)
        except ValueError as err:
            message = f"a tool call's arguments must be JSON, got {shown(arguments)} ({err})."
            raise DataError(message, "tool call") from None
    return words.strip(), None, {**turn.call, "arguments": arguments}


def _next(paths: Iterator[object] | None, number: int) -> object:
    try:
        return next(paths or iter(()))
    except StopIteration:
        raise DataError(f"message {number} shows an image beyond the list of images.", "placeholder") from None
