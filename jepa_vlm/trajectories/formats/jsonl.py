"""The native format: one JSON object per line, images beside the file.

A line is ``{"id", "images": [PATH, ...], "question", "steps": [STEP, ...], "answer", "task", "system"}``; a STEP is
``{"text", "call": CALL, "image": PATH, "observation"}``; a CALL is
``{"name", "arguments", "box": [left, top, right, bottom], "relative": true or false, "image": which, "written"}``.

Paths are relative to the file's folder, which is the data root. Of a step everything but the text may be missing. A
call's box is optional, but with a box ``relative`` must say what its numbers are. Other keys are ignored.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.box import Box
from jepa_vlm.trajectories.formats.fields import checked, field, four_numbers
from jepa_vlm.trajectories.formats.images import image_in
from jepa_vlm.trajectories.formats.parsed import ParsedRows
from jepa_vlm.trajectories.formats.reader import FORMATS
from jepa_vlm.trajectories.formats.records import JsonLines, Record
from jepa_vlm.trajectories.image import LazyImage
from jepa_vlm.trajectories.rows import Rows
from jepa_vlm.trajectories.trajectory import Step, ToolCall, Trajectory


@FORMATS.register("jsonl")
def read_jsonl(path: Path) -> Rows:
    """Return the rows of a file; images are checked by their headers and stay on disk.

    Raises:
        DataError: If the file cannot be read.
    """
    records = JsonLines(path)
    ids, taken = _ids(records)
    return ParsedRows(records, partial(_trajectory, root=path.parent, taken=taken), ids)


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


def _ids(records: JsonLines) -> tuple[list[str], dict[str, int]]:
    """Return every line's id, and by place the lines whose id an earlier line has, with that line."""
    ids: list[str] = []
    lines: dict[str, int] = {}
    taken: dict[str, int] = {}
    for index in range(len(records)):
        place = records.place(index)
        line = int(place.rpartition(":")[2])
        try:
            ids.append(field(records.read(index), "id", str))
        except DataError:  # said when the line is read
            ids.append(f"{records.label}-{index}")
        if lines.setdefault(ids[-1], line) != line:
            taken[place] = lines[ids[-1]]
    return ids, taken


def _trajectory(row: Record, identity: str, origin: str, *, root: Path, taken: Mapping[str, int]) -> Trajectory:
    field(row, "id", str)
    if origin in taken:
        raise DataError(f"id {identity!r} is taken by line {taken[origin]}; ids must be unique.", "id")

    def image(reference: object) -> LazyImage:
        return image_in(root, checked(reference, str, "an image path"), origin=origin)

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


def _row(trajectory: Trajectory, folder: Path) -> dict[str, Any]:
    return {
        "id": trajectory.id,
        "images": [_save(image, folder) for image in trajectory.images],
        "question": trajectory.question,
        "steps": [_step_row(step, folder) for step in trajectory.steps],
        "answer": trajectory.answer,
        "task": trajectory.task,
        **({"system": trajectory.system} if trajectory.system else {}),
    }


def _step_row(step: Step, folder: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"text": step.text}
    if step.call is not None:
        row["call"] = {"name": step.call.name, "arguments": dict(step.call.arguments), "image": step.call.image}
        if (box := step.call.box) is not None:
            row["call"] |= {"box": [box.left, box.top, box.right, box.bottom], "relative": box.relative}
        if step.call.written is not None:
            row["call"]["written"] = step.call.written
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
