"""The native format: one JSON object per line, images beside the file.

A line is ``{"id", "images": [PATH, ...], "question", "steps": [STEP, ...], "answer", "task"}``; a STEP is
``{"text", "call": CALL, "image": PATH, "observation"}``; a CALL is
``{"name", "arguments", "box": [left, top, right, bottom], "relative": true or false, "image": which}``.

Paths are relative to the file's folder, which is the data root. Of a step everything but the text may be missing. A
call's box is optional, but with a box ``relative`` must say what its numbers are. Other keys are ignored.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.box import Box
from jepa_vlm.trajectories.formats.fields import checked, field, four_numbers
from jepa_vlm.trajectories.formats.images import image_in
from jepa_vlm.trajectories.formats.reader import FORMATS
from jepa_vlm.trajectories.image import LazyImage
from jepa_vlm.trajectories.trajectory import Step, ToolCall, Trajectory


@FORMATS.register("jsonl")
def read_jsonl(path: Path) -> list[Trajectory]:
    """Return the trajectories of a file; images are checked by their headers and stay on disk.

    Raises:
        DataError: If the file or a row is not what it must be; the message begins with file and line.
    """
    found: list[Trajectory] = []
    lines: dict[str, int] = {}
    for number, line in _lines(path):
        try:
            trajectory = _trajectory(_object(line), path.parent, f"{path}:{number}")
            if trajectory.id in lines:
                raise DataError(f"id {trajectory.id!r} is taken by line {lines[trajectory.id]}; ids must be unique.")
        except DataError as err:
            raise DataError(f"{path}:{number}: {err}") from None
        lines[trajectory.id] = number
        found.append(trajectory)
    if not found:
        raise DataError(f"Data file {path} is empty; it must hold one JSON object per line.")
    return found


def write_jsonl(trajectories: Iterable[Trajectory], path: Path) -> Path:
    """Write trajectories and, as PNG into a folder beside the file, their images; return the file.

    Images are named by their content and every file is renamed into place, the data file last: whoever reads sees
    the old data or the new, never a part.
    """
    folder = path.parent / f"{path.stem}_images"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [json.dumps(_row(trajectory, folder), ensure_ascii=False) for trajectory in trajectories]
    _replace(path, "".join(row + "\n" for row in rows).encode())
    return path


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, with their numbers from 1."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from ((number, line.rstrip()) for number, line in enumerate(file, start=1) if line.strip())
    except FileNotFoundError:
        raise DataError(f"Data file {path} does not exist; check the path.") from None
    except (OSError, UnicodeDecodeError) as err:
        raise DataError(f"Data file {path} cannot be read as UTF-8 text ({err}).") from None


def _object(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as err:
        raise DataError(f"not valid JSON ({err.msg} at column {err.colno}); a line must be one JSON object.") from None
    except (ValueError, RecursionError) as err:
        raise DataError(f"not usable JSON ({err}).") from None
    return checked(row, dict, "a line")


def _trajectory(row: dict[str, Any], root: Path, origin: str) -> Trajectory:
    def image(reference: object) -> LazyImage:
        return image_in(root, checked(reference, str, "an image path"), origin=origin)

    trajectory = Trajectory(
        id=field(row, "id", str),
        images=tuple(image(reference) for reference in field(row, "images", list, [])),
        question=field(row, "question", str),
        steps=tuple(_step(checked(step, dict, "a step"), image) for step in field(row, "steps", list)),
        answer=field(row, "answer", str),
        task=field(row, "task", str, ""),
    )
    _check_boxes(trajectory)
    return trajectory


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
    return ToolCall(field(call, "name", str), field(call, "arguments", dict, {}), box, field(call, "image", int, 0))


def _check_boxes(trajectory: Trajectory) -> None:
    """Hold every call to the images that there are when it is made."""
    sizes = [image.size for image in trajectory.images]
    for number, step in enumerate(trajectory.steps, start=1):
        if step.call is not None:
            if not 0 <= step.call.image < len(sizes):
                raise DataError(
                    f"step {number} calls for image {step.call.image}, but there are {len(sizes)} before it."
                )
            if step.call.box is not None:
                step.call.box.in_pixels(*sizes[step.call.image])
        if step.image is not None:
            sizes.append(step.image.size)


def _row(trajectory: Trajectory, folder: Path) -> dict[str, Any]:
    return {
        "id": trajectory.id,
        "images": [_save(image, folder) for image in trajectory.images],
        "question": trajectory.question,
        "steps": [_step_row(step, folder) for step in trajectory.steps],
        "answer": trajectory.answer,
        "task": trajectory.task,
    }


def _step_row(step: Step, folder: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"text": step.text}
    if step.call is not None:
        row["call"] = {"name": step.call.name, "arguments": dict(step.call.arguments), "image": step.call.image}
        if (box := step.call.box) is not None:
            row["call"] |= {"box": [box.left, box.top, box.right, box.bottom], "relative": box.relative}
    if step.image is not None:
        row["image"] = _save(step.image, folder)
    if step.observation:
        row["observation"] = step.observation
    return row


def _save(image: LazyImage, folder: Path) -> str:
    """Write an image unless it is there; return its path relative to the data root."""
    encoded = io.BytesIO()
    image.load().save(encoded, format="PNG")
    path = folder / f"{hashlib.sha256(encoded.getvalue()).hexdigest()[:24]}.png"
    if not path.exists():
        _replace(path, encoded.getvalue())
    return f"{folder.name}/{path.name}"


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    draft.write_bytes(content)
    draft.replace(path)
