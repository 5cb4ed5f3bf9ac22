"""The native format: one JSON object per line, images beside the file.

A line is ``{"id", "images": [PATH, ...], "question", "steps": [STEP, ...], "answer", "task", "system", "keep"}``; a
STEP is ``{"text", "call": CALL, "image": PATH, "observation", "image_place"}``; a CALL is
``{"name", "arguments", "box": [left, top, right, bottom], "relative": true or false, "image": which, "written"}``.

A question is a list of ``{"type": "image"}``, where an image stands, and ``{"type": "text", "text"}``, or it is a text,
before which the images come. In a text of a row of several images, just as many ``<image>`` stand for them; any other
``<image>`` in a text is refused, since it may mean a word, which it is in a part.

A step's image comes after ``image_place`` characters of its observation. Paths are relative to the file's folder, which
is the data root. Of a step everything but the text may be missing. A call's box is optional, but with a box
``relative`` must say what its numbers are, unless the option ``boxes`` does. ``keep`` lists special tokens that the
texts may hold.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.formats.boxes import Boxes
from jepa_vlm.trajectories.formats.fields import field, shown
from jepa_vlm.trajectories.formats.images import ImageRoots
from jepa_vlm.trajectories.formats.json_files import JsonRecords
from jepa_vlm.trajectories.formats.native import KEYS, row_of, trajectory_of
from jepa_vlm.trajectories.formats.parsed import ParsedRows
from jepa_vlm.trajectories.formats.reader import FORMATS
from jepa_vlm.trajectories.formats.records import Record, Records
from jepa_vlm.trajectories.image import LazyImage
from jepa_vlm.trajectories.rows import Rows
from jepa_vlm.trajectories.trajectory import Trajectory
from jepa_vlm.whole_files import write_whole


@FORMATS.register("jsonl")
def read_jsonl(path: Path, *, images: str = "", roots: str = "", boxes: str = "") -> Rows:
    """Return the rows of a file; images are checked by their headers and stay on disk.

    Args:
        path: The file.
        images: Folder that image paths are relative to; the file's, if it is not given.
        roots: A JSON file of folders by the beginning of a path, as for ``lvr``.
        boxes: The unit of all boxes, ``pixels``, ``fractions`` or ``thousandths``; what each says, if it is not given.

    Raises:
        DataError: If the file cannot be read.
    """
    Boxes.of(boxes)  # refuses an unknown unit
    records = JsonRecords(path)
    ids, taken = _ids(records)
    roots_of = ImageRoots.of(images or path.parent, roots)
    return ParsedRows(records, partial(_trajectory, roots=roots_of, boxes=boxes, taken=taken), KEYS, ids)


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
    write_whole(path, "".join(row + "\n" for row in rows))
    return path


def _ids(records: Records) -> tuple[list[str], dict[str, str]]:
    """Return every record's id, and by place the records whose id an earlier one has, with that one's place."""
    ids: list[str] = []
    first: dict[str, int] = {}
    taken: dict[str, str] = {}
    for index in range(len(records)):
        try:
            ids.append(field(records.read(index), "id", str))
        except DataError:  # said when the line is read
            ids.append(f"{records.label}-{index}")
        if first.setdefault(ids[-1], index) != index:
            taken[records.place(index)] = records.place(first[ids[-1]])
    return ids, taken


def _trajectory(
    row: Record, identity: str, origin: str, *, roots: ImageRoots, boxes: str, taken: Mapping[str, str]
) -> Trajectory:
    field(row, "id", str)
    if origin in taken:
        raise DataError(f"id {shown(identity)} is taken by {taken[origin]}; ids must be unique.", "id")
    return trajectory_of(row, identity, partial(roots.image, origin=origin), boxes=boxes)


def _save(image: LazyImage, *, folder: Path) -> str:
    """Write an image unless it is there; return its path relative to the data root."""
    encoded = io.BytesIO()
    image.load().save(encoded, format="PNG")
    path = folder / f"{hashlib.sha256(encoded.getvalue()).hexdigest()[:24]}.png"
    if not path.exists():
        write_whole(path, encoded.getvalue())
    return f"{folder.name}/{path.name}"
