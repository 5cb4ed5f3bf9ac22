"""The native format: one JSON object per line, images beside the file.

A line is ``{"id", "images": [PATH, ...], "question", "steps": [STEP, ...], "answer", "task", "system", "keep"}``; a
STEP is ``{"text", "call": CALL, "image": PATH, "observation", "image_place"}``; a CALL is
``{"name", "arguments", "box": [left, top, right, bottom], "relative": true or false, "image": which, "written"}``.

A question is a list of parts, ``{"type": "image"}`` and ``{"type": "text", "text"}``, in order, or it is one text. The
images come before such a text, unless the row has several images and the text has as many ``<image>``, which are then
their places. Any other ``<image>`` in it is refused, since it may mean a word; in a part it is a word.

A step's image comes after ``image_place`` characters of its observation. Paths are relative to the file's folder, which
is the data root. A step needs only its text. A call's box is optional; with a box, ``relative`` must state the unit of
its numbers, unless the option ``boxes`` does. ``keep`` lists special tokens that the texts may hold.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.box import Boxes
from jepa_vlm.trajectories.formats.chat_texts import IMAGE, placed, split_at_images, words_of
from jepa_vlm.trajectories.formats.images import ImageRoots
from jepa_vlm.trajectories.formats.json_files import JsonRecords
from jepa_vlm.trajectories.formats.records import FORMATS, Keys, OpenImage, ParsedRows
from jepa_vlm.trajectories.image import LazyImage
from jepa_vlm.trajectories.json_values import JsonObject, checked, field, shown
from jepa_vlm.trajectories.rows import Rows
from jepa_vlm.trajectories.trajectory import Step, ToolCall, Trajectory
from jepa_vlm.whole_files import write_whole

PART = Keys(("type", "text"))
CALL = Keys(("name", "arguments", "box", "relative", "image", "written"))
PICTURE = Keys(("image", "region", "relative"))  # of the store
STEP = Keys(("text", "observation", "image_place"), {"call": CALL, "image": PICTURE})
KEYS = Keys(("id", "answer", "task", "system", "keep"), {"question": PART, "steps": STEP, "images": PICTURE})
Save = Callable[[LazyImage], object]  # stores an image and returns a reference to it


@FORMATS.register("jsonl")
def read_jsonl(path: Path, *, images: str = "", roots: str = "", boxes: str = "") -> Rows:
    """Return the rows of a file; images are checked by their headers and stay on disk.

    Args:
        path: The file.
        images: Folder that image paths are relative to; by default the file's.
        roots: A JSON file of folders by the beginning of a path, as for ``lvr``.
        boxes: The unit of all boxes, ``pixels``, ``fractions`` or ``thousandths``; by default what each call says.

    Raises:
        DataError: If the file cannot be read.
    """
    Boxes.of(boxes)  # refuses an unknown unit
    records = JsonRecords(path)
    records.use_own_ids()
    opened = ImageRoots.of(images or path.parent, roots).image
    return ParsedRows(records, partial(trajectory_of, boxes=boxes), KEYS, opened)


def write_jsonl(trajectories: Iterable[Trajectory], path: Path) -> Path:
    """Write trajectories and, as PNG into a folder beside the file, their images; return the file.

    Images are named by their content and every file is renamed into place, the data file last, so that a reader sees
    the old data or the new, never a part.
    """
    folder = path.parent / f"{path.stem}_images"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        json.dumps(row_of(trajectory, partial(_save, folder=folder)), ensure_ascii=False) for trajectory in trajectories
    ]
    write_whole(path, "".join(row + "\n" for row in rows))
    return path


def trajectory_of(row: JsonObject, _: str, image: OpenImage, *, boxes: str = "") -> Trajectory:
    """Return the trajectory of a row.

    Args:
        row: JSON values, see ``jsonl``.
        image: Returns the image of a reference.
        boxes: The unit of boxes, or "" if each states it by ``relative``.

    Raises:
        DataError: If a value is missing or cannot be used.
    """
    identity = field(row, "id", str)
    images = [image(reference) for reference in field(row, "images", list, [])]
    steps, seen = [], [*images]
    for step in field(row, "steps", list):
        steps.append(_step(checked(step, dict, "a step"), image, seen, boxes))
        seen += [shown for shown in (steps[-1].image,) if shown is not None]
    question, places = _question(row, len(images))
    return Trajectory(
        id=identity,
        images=tuple(images),
        question=question,
        steps=tuple(steps),
        answer=field(row, "answer", str),
        task=field(row, "task", str, ""),
        system=field(row, "system", str, ""),
        image_places=places,
        keep=tuple(checked(token, str, "an entry of key 'keep'") for token in field(row, "keep", list, [])),
    )


def _question(row: JsonObject, images: int) -> tuple[str, tuple[int, ...]]:
    """Return the words of a question, and the places of its images in them."""
    question = row.get("question")
    if not isinstance(question, list):
        words = field(row, "question", str)
        if not (marks := words.count(IMAGE)):
            return words, ()
        if marks == images > 1:  # a word does not happen to occur exactly this often
            return placed(split_at_images(words))
        raise DataError(
            f"key 'question' holds {marks} {IMAGE} for {images} images, and may mean a word; write the question in "
            'parts, {"type": "image"} where an image stands and {"type": "text", "text": ...} for words.',
            "placeholder",
        )
    parts = [_part(checked(part, dict, "a part of key 'question'")) for part in question]
    if (found := parts.count(None)) not in (0, images):
        message = f"key 'question' has {found} image parts for {images} images; it needs none, or one for each."
        raise DataError(message, "placeholder")
    return placed(parts) if found else (words_of(parts), ())


def _part(part: JsonObject) -> str | None:
    kind = field(part, "type", str)
    if kind not in ("text", "image"):
        raise DataError(f"a part of key 'question' must be a text or an image, got {shown(kind)}.", "key")
    return None if kind == "image" else field(part, "text", str)


def _step(step: JsonObject, image: OpenImage, seen: list[LazyImage], boxes: str) -> Step:
    call, reference = step.get("call"), step.get("image")
    return Step(
        text=field(step, "text", str),
        call=None if call is None else _call(checked(call, dict, "key 'call'"), seen, boxes),
        image=None if reference is None else image(reference),
        observation=field(step, "observation", str, ""),
        image_place=field(step, "image_place", int, 0),
    )


def _call(call: JsonObject, seen: list[LazyImage], boxes: str) -> ToolCall:
    number, box = field(call, "image", int, 0), None
    if call.get("box") is not None and 0 <= number < len(seen):  # a call for another image is refused as a whole
        box = _boxes(call, boxes).read(call["box"], "key 'box'", seen[number].size)
    return ToolCall(
        name=field(call, "name", str),
        arguments=field(call, "arguments", dict, {}),
        box=box,
        image=number,
        written=None if call.get("written") is None else field(call, "written", str),
    )


def _boxes(call: JsonObject, unit: str) -> Boxes:
    """Return how the box of a call is read: by the option, or by the call's own key ``relative``."""
    if not unit:
        return Boxes(("fractions",)) if field(call, "relative", bool) else Boxes(("pixels",), stated=True)
    if call.get("relative") not in (None, unit == "fractions"):
        message = f"key 'relative' is {call['relative']!r}, but #boxes={unit} is set; leave one of them out."
        raise DataError(message, "box")
    return Boxes.of(unit)


def row_of(trajectory: Trajectory, save: Save) -> dict[str, object]:
    """Return a trajectory as JSON values.

    Args:
        trajectory: The trajectory to write.
        save: Stores an image and returns a reference to it.
    """
    return {
        "id": trajectory.id,
        "images": [save(image) for image in trajectory.images],
        "question": _question_row(trajectory),
        "steps": [_step_row(step, save) for step in trajectory.steps],
        "answer": trajectory.answer,
        "task": trajectory.task,
        **({"system": trajectory.system} if trajectory.system else {}),
        **({"keep": list(trajectory.keep)} if trajectory.keep else {}),
    }


def _question_row(trajectory: Trajectory) -> str | list[dict[str, str]]:
    if trajectory.image_places:
        parts = trajectory.asked
    elif IMAGE in trajectory.question:
        parts = (trajectory.question,)
    else:
        return trajectory.question
    return [{"type": "text", "text": part} if isinstance(part, str) else {"type": "image"} for part in parts]


def _step_row(step: Step, save: Save) -> dict[str, object]:
    row: dict[str, object] = {"text": step.text}
    if step.call is not None:
        call = {"name": step.call.name, "arguments": dict(step.call.arguments), "image": step.call.image}
        if (box := step.call.box) is not None:
            call |= {"box": list(box.edges), "relative": box.relative}
        if step.call.written is not None:
            call["written"] = step.call.written
        row["call"] = call
    if step.image is not None:
        row["image"] = save(step.image)
    if step.observation:
        row["observation"] = step.observation
    if step.image_place:
        row["image_place"] = step.image_place
    return row


def _save(image: LazyImage, *, folder: Path) -> str:
    """Write an image unless it is there; return its path relative to the data root."""
    encoded = io.BytesIO()
    image.load().save(encoded, format="PNG")
    path = folder / f"{hashlib.sha256(encoded.getvalue()).hexdigest()[:24]}.png"
    if not path.exists():
        write_whole(path, encoded.getvalue())
    return f"{folder.name}/{path.name}"
