"""Trajectories as JSON values: what the native formats share, whatever an image reference is to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.formats.boxes import Boxes
from jepa_vlm.trajectories.formats.fields import checked, field
from jepa_vlm.trajectories.formats.records import Record
from jepa_vlm.trajectories.image import LazyImage
from jepa_vlm.trajectories.trajectory import Step, ToolCall, Trajectory

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
    return Trajectory(
        id=identity,
        images=tuple(images),
        question=field(row, "question", str),
        steps=tuple(steps),
        answer=field(row, "answer", str),
        task=field(row, "task", str, ""),
        system=field(row, "system", str, ""),
    )


def _step(step: dict[str, Any], image: Callable[[object], LazyImage], seen: list[LazyImage], boxes: str) -> Step:
    call, reference = step.get("call"), step.get("image")
    return Step(
        text=field(step, "text", str),
        call=None if call is None else _call(checked(call, dict, "key 'call'"), seen, boxes),
        image=None if reference is None else image(reference),
        observation=field(step, "observation", str, ""),
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
        "question": trajectory.question,
        "steps": [_step_row(step, save) for step in trajectory.steps],
        "answer": trajectory.answer,
        "task": trajectory.task,
        **({"system": trajectory.system} if trajectory.system else {}),
    }


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
    return row
