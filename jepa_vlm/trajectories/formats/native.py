"""Trajectories as JSON values: what the native formats share, whatever an image reference is to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jepa_vlm.trajectories.box import Box
from jepa_vlm.trajectories.formats.fields import checked, field, four_numbers
from jepa_vlm.trajectories.formats.records import Record
from jepa_vlm.trajectories.image import LazyImage
from jepa_vlm.trajectories.trajectory import Step, ToolCall, Trajectory

Save = Callable[[LazyImage], Any]


def trajectory_of(row: Record, identity: str, image: Callable[[object], LazyImage]) -> Trajectory:
    """Return the trajectory that a row holds.

    Args:
        row: JSON values, see ``jsonl``.
        identity: The trajectory's id.
        image: Returns the image that a reference means.

    Raises:
        DataError: If a value is missing or not what it must be.
    """
    return Trajectory(
        id=identity,
        images=tuple(image(reference) for reference in field(row, "images", list, [])),
        question=field(row, "question", str),
        steps=tuple(_step(checked(step, dict, "a step"), image) for step in field(row, "steps", list)),
        answer=field(row, "answer", str),
        task=field(row, "task", str, ""),
        system=field(row, "system", str, ""),
    )


def _step(step: dict[str, Any], image: Callable[[object], LazyImage]) -> Step:
    call, reference = step.get("call"), step.get("image")
    return Step(
        text=field(step, "text", str),
        call=None if call is None else _call(checked(call, dict, "key 'call'")),
        image=None if reference is None else image(reference),
        observation=field(step, "observation", str, ""),
    )


def _call(call: dict[str, Any]) -> ToolCall:
    edges = call.get("box")
    box = None
    if edges is not None:
        left, top, right, bottom = four_numbers(edges, "key 'box'")
        box = Box(left, top, right, bottom, relative=field(call, "relative", bool))
    return ToolCall(
        name=field(call, "name", str),
        arguments=field(call, "arguments", dict, {}),
        box=box,
        image=field(call, "image", int, 0),
        written=None if call.get("written") is None else field(call, "written", str),
    )


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
            row["call"] |= {"box": [box.left, box.top, box.right, box.bottom], "relative": box.relative}
        if step.call.written is not None:
            row["call"]["written"] = step.call.written
    if step.image is not None:
        row["image"] = save(step.image)
    if step.observation:
        row["observation"] = step.observation
    return row
