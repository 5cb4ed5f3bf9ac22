"""Chat messages as TRL and the OpenAI API have them: ``messages`` and ``images``, in JSON or in parquet.

A line is ``{"messages": [...], "images": [PATH, ...]}``, or ``{"prompt": [...], "completion": [...], "images"}``. A
message is ``{"role", "content"}`` with role system, user, assistant or tool; its content is a text, in which
``<image>`` stands for the next image, or a list of ``{"type": "text", "text"}`` and ``{"type": "image"}``. An image may
also stand in place, as ``{"type": "image", "image": PATH}``. An assistant message may end with a
``<tool_call>{...}</tool_call>`` or have ``tool_calls: [{"function": {"name", "arguments"}}]``, of which there may be
one; the user or tool message after it shows the tool's one image.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.formats.boxes import UNITS, Boxes
from jepa_vlm.trajectories.formats.conversation import crop_of, question_of, split_call, tagged_answer
from jepa_vlm.trajectories.formats.fields import checked, field, shown
from jepa_vlm.trajectories.formats.hub import HubPath
from jepa_vlm.trajectories.formats.images import ImageRoots
from jepa_vlm.trajectories.formats.json_files import JsonRecords
from jepa_vlm.trajectories.formats.parsed import ParsedRows
from jepa_vlm.trajectories.formats.reader import FORMATS
from jepa_vlm.trajectories.formats.records import Record, Records
from jepa_vlm.trajectories.formats.tables import is_table
from jepa_vlm.trajectories.formats.tabular import open_tables
from jepa_vlm.trajectories.rows import Joined, Rows
from jepa_vlm.trajectories.trajectory import IMAGE, Step, Trajectory


@FORMATS.register("messages")
def read_messages(
    path: Path | HubPath, *, images: str = "", roots: str = "", boxes: str = "", split: str = "train"
) -> Rows:
    """Return one row for each chat.

    Args:
        path: The file, a folder of parquet files, or a data set on the hub.
        images: Folder that image paths are relative to; the file's, if it is not given.
        roots: A JSON file of folders by the beginning of a path, as for ``lvr``.
        boxes: The unit of boxes. If it is not given, a box is read in the unit that it fits, and one that fits none or
            several of them is refused: messages do not say it, and most boxes could be in pixels or in thousandths.
        split: Of a folder of parquet files with several splits, or of a data set on the hub, the one to read.
    """
    read = Boxes.of(boxes, *UNITS)

    def rows(records: Records, folder: Path | None) -> Rows:
        return ParsedRows(records, partial(_trajectory, roots=ImageRoots.of(images or folder, roots), boxes=read))

    if isinstance(path, HubPath) or is_table(path):
        return Joined([rows(records, folder) for _, folder, records in open_tables(path, {}, split=split)])
    return rows(JsonRecords(path), path.parent)


def _trajectory(record: Record, identity: str, origin: str, *, roots: ImageRoots, boxes: Boxes) -> Trajectory:
    if "messages" in record:
        listed = field(record, "messages", list)
    else:
        listed = [*field(record, "prompt", list), *field(record, "completion", list)]
    paths = iter(field(record, "images", list, []))
    turns = [_turn(checked(one, dict, f"message {i}"), i, paths) for i, one in enumerate(listed)]
    if (left := len(list(paths))) > 0:
        raise DataError(f"{left} of the images have no place in the messages; each needs one.", "placeholder")
    roles = [turn[0] for turn in turns]
    system = turns.pop(0)[1] if roles[:1] == ["system"] else ""
    expected = ["assistant" if i % 2 else "user" for i in range(len(turns))]
    if not turns or len(turns) % 2 or ["user" if t[0] == "tool" else t[0] for t in turns] != expected:
        raise DataError(f"messages must be user and assistant by turns, got {shown(', '.join(roles))}.", "turns")

    images = [roots.image(path, origin=origin) for path in turns[0][2]]
    sizes, steps = [image.size for image in images], []
    for at in range(1, len(turns) - 1, 2):
        words, written, call = _call(turns[at])
        _, observation, shown_paths, _ = turns[at + 1]
        if len(shown_paths) != 1:
            message = f"a turn after the first must show the tool's one image, got {len(shown_paths)}."
            raise DataError(message, "turns")
        image = roots.image(shown_paths[0], origin=origin)
        made = None if call is None else crop_of(call, sizes, written=written, boxes=boxes)
        sizes.append(image.size)
        steps.append(Step(words, made, image, observation.replace(IMAGE, "").strip()))
    last, _, call = _call(turns[-1])
    if call is not None:
        raise DataError("the last turn must be the answer, but it ends with a tool call.", "tool call")
    return Trajectory(
        id=identity,
        images=tuple(images),
        question=question_of(turns[0][1], len(images)),
        steps=(*steps, Step(last.strip())),
        answer=tagged_answer(last),
        task=field(record, "task", str, ""),
        system=system,
    )


Turn = tuple[str, str, list[object], Mapping[str, Any] | None]
"""Role, text with its placeholders, references to its images, and the call beside the text."""


def _turn(message: Mapping[str, Any], number: int, paths: Iterator[object]) -> Turn:
    role, content = field(message, "role", str), message.get("content")
    texts, own = [], []
    for part in content if isinstance(content, list) else [{"type": "text", "text": content or ""}]:
        kind = field(checked(part, dict, f"a part of message {number}"), "type", str)
        if kind == "text":
            text = field(part, "text", str)
            own += [_next(paths, number) for _ in range(text.count(IMAGE))]
            texts.append(text)
        elif kind == "image":
            inline = part.get("image") or part.get("path")
            own.append(inline if inline is not None else _next(paths, number))
            texts.append(IMAGE)
        else:
            raise DataError(f"a part of message {number} must be a text or an image, got {kind!r}.", "key")
    calls = field(message, "tool_calls", list, [])
    if len(calls) > 1:
        raise DataError(f"message {number} may make one tool call, got {len(calls)}.", "tool call")
    call = field(checked(calls[0], dict, "a tool call"), "function", dict) if calls else None
    return role, "".join(texts), own, call


def _call(turn: Turn) -> tuple[str, str | None, Mapping[str, Any] | None]:
    """Return words, how the call is written (None: as JSON), and the call."""
    role, text, images, beside = turn
    if images:
        raise DataError(f"a message of role {role!r} shows an image; only users and tools may.", "turns")
    words, written, call = split_call(text)
    if beside is None:
        return words, written, call
    if call is not None:
        raise DataError("a message makes its tool call twice, in its text and in tool_calls.", "tool call")
    arguments = beside.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            raise DataError(f"a tool call's arguments must be JSON, got {shown(arguments)}.", "tool call") from None
    return words.strip(), None, {**beside, "arguments": arguments}


def _next(paths: Iterator[object], number: int) -> object:
    try:
        return next(paths)
    except StopIteration:
        raise DataError(f"message {number} shows an image beyond the list of images.", "placeholder") from None
