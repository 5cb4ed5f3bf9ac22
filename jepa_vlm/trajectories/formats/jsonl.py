"""The native format: one JSON object per line, images beside the file.

A line is ``{"id", "images": [PATH, ...], "question", "steps": [STEP, ...], "answer", "task", "system", "keep"}``; a
STEP is ``{"text", "call": CALL, "image": PATH, "observation", "image_place"}``; a CALL is
``{"name", "arguments", "box": [left, top, right, bottom], "relative": true or false, "image": which, "written"}``.

A question is a list of ``{"type": "image"}``, where an image stands, and ``{"type": "text", "text"}``, or it is a text,
before which the images come. In a text of a row of several images, just as many ``<image>`` stand for them; any other
``<image>`` in a text is refused, since it may mean a word, which it is in a part.

A step's image comes after ``image_place`` characters of its observation. Paths are relative to the file's folder, which
is the data root. Of a step everything but the text may be missing. A call's box is optional, but with a box
``relative`` must say what its numbers are. ``keep`` lists special tokens that the texts may hold.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.formats.fields import checked, field, shown
from jepa_vlm.trajectories.formats.images import image_in
from jepa_vlm.trajectories.formats.json_files import JsonLines
from jepa_vlm.trajectories.formats.native import KEYS, row_of, trajectory_of
from jepa_vlm.trajectories.formats.parsed import ParsedRows
from jepa_vlm.trajectories.formats.reader import FORMATS
from jepa_vlm.trajectories.formats.records import Record
from jepa_vlm.trajectories.image import LazyImage
from jepa_vlm.trajectories.rows import Rows
from jepa_vlm.trajectories.trajectory import Trajectory


@FORMATS.register("jsonl")
def read_jsonl(path: Path) -> Rows:
    """Return the rows of a file; images are checked by their headers and stay on disk.

    Raises:
        DataError: If the file cannot be read.
    """
    records = JsonLines(path)
    ids, taken = _ids(records)
    return ParsedRows(records, partial(_trajectory, root=path.parent, taken=taken), KEYS, ids)


def write_jsonl(trajectories: Iterable[Trajectory], path: Path) -> Path:
    """Write trajectories and, as PNG into a folder beside the file, their images; return the file.

    Images are named by their content and every file is renamed into place, the data file last: whoever reads sees
    the old data or the new, never a part.
    """
    folder = path.parent / f"{path.stem}_images"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        json.dumps(row_of(trajectory, partial(_save, folder=folder)), ensure_ascii=False) for trajectory in trajectories
    ]
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
        raise DataError(f"id {shown(identity)} is taken by line {taken[origin]}; ids must be unique.", "id")

    def image(reference: object) -> LazyImage:
        return image_in(root, checked(reference, str, "an image path"), origin=origin)

    return trajectory_of(row, identity, image)


def _save(image: LazyImage, *, folder: Path) -> str:
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
