"""The fine-tuning data of Pixel-Reasoner: a JSON list of chats in which crops are stored images.

A record is ``{"qid", "message_list"}``, a message ``{"role", "content": [ITEM, ...]}``. An ITEM has no type: of its
keys text, image and video one is set and the others are missing or null. Message 0 is the system prompt with the tools
and message 1 the question with its images. Then come, any number of times, an assistant turn that ends with a
``<tool_call>`` and a user turn with the stored crop, and last an assistant turn with ``\\boxed{ANSWER}``. Paths are
relative to the list's folder.

Boxes (``bbox_2d``) are pixels of the image that ``target_image`` counts, from 1, or fractions of it: edges that all lie
below 2. An edge beyond the image is cut to the image, as the tool does, and noted; the written call stays.
Chats about videos, which select frames, are dropped and counted.

Source: TIGER-AI-Lab/Pixel-Reasoner@a3a6c3a, instruction_tuning/sft_tool.py, and converters of its users.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.box import Boxes
from jepa_vlm.trajectories.formats.chat_texts import Parts, crop_of, placed, split_call, tagged_answer, words_of
from jepa_vlm.trajectories.formats.images import ImageRoots
from jepa_vlm.trajectories.formats.json_files import JsonRecords
from jepa_vlm.trajectories.formats.records import FORMATS, Keys, OpenImage, ParsedRows
from jepa_vlm.trajectories.json_values import JsonObject, checked, choice, field, shown
from jepa_vlm.trajectories.rows import Rows
from jepa_vlm.trajectories.trajectory import Step, Trajectory

STYLES = ("pearl", "original")
ITEM = Keys(("text", "image", "video"), labels=("type",))
KEYS = Keys(inside={"message_list": Keys(("role",), {"content": ITEM})}, labels=("id", "qid"))


@FORMATS.register("pixelreasoner")
def read_pixelreasoner(path: Path, *, images: str = "", roots: str = "", style: str = "pearl", boxes: str = "") -> Rows:
    """Return one row for each chat about images.

    Args:
        path: release.json.
        images: Folder that image paths are relative to; by default the list's.
        roots: A JSON file of folders by the beginning of a path, as for ``lvr``.
        style: ``pearl`` leaves out tool calls and the system prompt about tools, as Pearl does, which calls no tools at
            inference, and puts the images of a turn first; ``original`` keeps everything as it is written.
        boxes: The unit of boxes; by default pixels or fractions, whichever each box fits.
    """
    choice(style, STYLES, "style")
    read = Boxes.of(boxes, "pixels", "fractions", cut=True)
    records = JsonRecords(path)
    records.keep(_reason)
    opened = ImageRoots.of(images or path.parent, roots).image
    return ParsedRows(records, partial(_trajectory, style=style, boxes=read), KEYS, opened)


def _reason(record: JsonObject) -> str:
    """Return why a chat is left out, or ""; a malformed one is kept, to be refused."""
    messages = record.get("message_list")
    for message in messages if isinstance(messages, list) else []:
        content = message.get("content") if isinstance(message, dict) else None
        for item in content if isinstance(content, list) else []:
            if isinstance(item, dict) and item.get("video") is not None:
                return "video"
    return ""


def _trajectory(record: JsonObject, identity: str, image: OpenImage, *, style: str, boxes: Boxes) -> Trajectory:
    messages = [_message(one, number) for number, one in enumerate(field(record, "message_list", list))]
    roles = [role for role, _, _ in messages]
    system = words_of(messages.pop(0)[1]) if roles[:1] == ["system"] else ""
    if len(messages) % 2 or [role for role, _, _ in messages] != ["user", "assistant"] * (len(messages) // 2):
        found = shown(", ".join(roles))
        raise DataError(f"message_list must hold system, then user and assistant by turns, got {found}.", "turns")
    if not messages:
        raise DataError("message_list has neither question nor answer.", "turns")

    def read(parts: Parts) -> tuple[str, tuple[int, ...]]:
        return placed(parts) if style == "original" else (words_of(parts).strip(), ())

    images = [image(path) for path in messages[0][2]]
    sizes = [one.size for one in images]
    steps = []
    for turn in range(0, len(messages) - 2, 2):
        words, written, call = split_call(words_of(messages[turn + 1][1]))
        _, observed, paths = messages[turn + 2]
        if len(paths) != 1:
            message = f"message {turn + 2} must show the tool's one image, got {len(paths)}."
            raise DataError(message, "turns")
        if call is None:
            raise DataError(f"message {turn + 1} must end with a tool call, since an image follows.", "tool call")
        made = crop_of(call, sizes, written=written if style == "original" else "", boxes=boxes)
        result = image(paths[0])
        sizes.append(result.size)
        observation, places = read(observed)
        steps.append(Step(words if style == "original" else words.strip(), made, result, observation, *places))
    last, _, call = split_call(words_of(messages[-1][1]))
    if call is not None:
        raise DataError("the last turn must be the answer, but it ends with a tool call.", "tool call")
    question, places = read(messages[0][1])
    return Trajectory(
        id=identity,
        images=tuple(images),
        question=question,
        steps=(*steps, Step(last.strip())),
        answer=tagged_answer(last),
        task="pixelreasoner",
        system=system if style == "original" else "",
        image_places=places,
    )


def _message(message: object, number: int) -> tuple[str, Parts, list[str]]:
    """Return role, parts and image paths of a message."""
    turn = checked(message, dict, f"message {number}")
    role = field(turn, "role", str)
    parts: list[str | None] = []
    images: list[str] = []
    for item in field(turn, "content", list):
        kind, value = _item(checked(item, dict, f"an item of message {number}"), number)
        parts.append(value if kind == "text" else None)
        images += [value] if kind != "text" else []
    return role, parts or [""], images


def _item(item: JsonObject, number: int) -> tuple[str, str]:
    given = [(kind, item[kind]) for kind in ("text", "image", "video") if item.get(kind) is not None]
    if len(given) != 1:
        message = f"an item of message {number} must set one of text, image and video, got {shown(dict(item))}."
        raise DataError(message, "key")
    kind, value = given[0]
    return kind, checked(value, str, f"key {kind!r} of message {number}")
