"""Trajectories as JSON values: what the native formats share, whatever an image reference is to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.formats.boxes import Boxes
from jepa_vlm.trajectories.formats.conversation import IMAGE, placed, split_at_images, words_of
from jepa_vlm.trajectories.formats.fields import checked, field, shown
from jepa_vlm.trajectories.formats.keys import Keys
from jepa_vlm.trajectories.formats.records import Record
from jepa_vlm.trajectories.image import LazyImage
from jepa_vlm.trajectories.trajectory import Step, ToolCall, Trajectory

PART = Keys(("type", "text"))
CALL = Keys(("name", "arguments", "box", "relative", "image", "written"))
PICTURE = Keys(("image", "region", "relative"))  # of the store
STEP = Keys(("text", "observation", "image_place"), {"call": CALL, "image": PICTURE})
KEYS = Keys(("id", "answer", "task", "system", "keep"), {"question": PART, "steps": STEP, "images": PICTURE})
Save = Callable[[LazyImage], Any]


def trajectory_of(row: Record, identity: str, image: Callable[[object], LazyImage], *, boxes: str = "") -> Trajectory:
    """Return the trajectory that a row holds.

    Args:
        row: JSON values, see ``jsonl``.
        identity: The trajectory's id.
        image: Returns the image that a reference means.
        boxes: The unit of boxes, or "" where each says it by ``relative``.

    Raises:
        DataError: If a value is missing or not what it must be.
    """
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


def _question(row: Record, images: int) -> tuple[str, tuple[int, ...]]:
    """Return the words of a question, and the places of its images in them."""
    question = row.get("question")
    if not isinstance(question, list):
        words = field(row, "question", str)
        if not (marks := words.count(IMAGE)):
            return words, ()
        if marks == images > 1:  # no word stands there by chance just so often
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


def _part(part: dict[str, Any]) -> str | None:
    kind = field(part, "type", str)
    if kind not in ("text", "image"):
        raise DataError(f"a part of key 'question' must be a text or an image, got {shown(kind)}.", "key")
    return None if kind == "image" else field(part, "text", str)


def _step(step: dict[str, Any], image: Callable[[object], LazyImage], seen: list[LazyImage], boxes: str) -> Step:
    call, reference = step.get("call"), step.get("image")
    return Step(
        text=field(step, "text", str),
        call=None if call is None else _call(checked(call, dict, "key 'call'"), seen, boxes),
        image=None if reference is None else image(reference),
        observation=field(step, "observation", str, ""),
        image_place=field(step, "image_place", int, 0),
    )


def _call(call: dict[str, Any], seen: list[LazyImage], boxes: str) -> ToolCall:
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


def _boxes(call: dict[str, Any], unit: str) -> Boxes:
    """Return how a call's box is read: as the option says, or else as the call does."""
    if not unit:
        return Boxes(("fractions",)) if field(call, "relative", bool) else Boxes(("pixels",), stated=True)
    if call.get("relative") not in (None, unit == "fractions"):
        message = f"key 'relative' is {call['relative']!r}, but #boxes={unit} is set; leave one of them out."
        raise DataError(message, "box")
    return Boxes.of(unit)


def row_of(trajectory: Trajectory, save: Save) -> dict[str, Any]:
    """Return a trajectory as JSON values.

    Args:
        trajectory: What to write.
        save: Puts an image away and returns the reference to it.
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


def _step_row(step: Step, save: Save) -> dict[str, Any]:
    row: dict[str, Any] = {"text": step.text}
    if step.call is not None:
        row["call"] = {"name": step.call.name, "arguments": dict(step.call.arguments), "image": step.call.image}
        if (box := step.call.box) is not None:
            row["call"] |= {"box": list(box.edges), "relative": box.relative}
        if step.call.written is not None:
            row["call"]["written"] = step.call.written
    if step.image is not None:
        row["image"] = save(step.image)
    if step.observation:
        row["observation"] = step.observation
    if step.image_place:
        row["image_place"] = step.image_place
    return row
