"""The training data of Mirage (Machine Mental Imagery): JSON lines with helper images.

A line is ``{"text_input", "text_output", "image_input", "image_output"}``. ``text_input`` has an ``<image>`` for each
input image, usually between its words; ``text_output`` an ``<output_image>`` for each helper image. Images are one path
or a list of paths, relative to the folder that Mirage is trained from, which the option ``root`` names.

Source: UMass-Embodied-AGI/Mirage@53f26de, README.md, src/task.py and data/examples/sample.jsonl.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.formats.conversation import question_of, tagged_answer
from jepa_vlm.trajectories.formats.fields import checked, field, shown
from jepa_vlm.trajectories.formats.images import image_in
from jepa_vlm.trajectories.formats.json_files import JsonLines
from jepa_vlm.trajectories.formats.keys import Keys
from jepa_vlm.trajectories.formats.parsed import ParsedRows
from jepa_vlm.trajectories.formats.reader import FORMATS
from jepa_vlm.trajectories.formats.records import Record
from jepa_vlm.trajectories.image import LazyImage
from jepa_vlm.trajectories.rows import Rows
from jepa_vlm.trajectories.trajectory import Step, Trajectory

SLOT = "<output_image>"
KEYS = Keys(("text_input", "text_output", "image_input", "image_output"), labels=("id",))


@FORMATS.register("mirage")
def read_mirage(path: Path, *, root: str = "") -> Rows:
    """Return one row for each line.

    Args:
        path: The file.
        root: Folder that image paths are relative to; the file's, if it is not given.
    """
    folder = Path(root).expanduser() if root else path.parent
    return ParsedRows(JsonLines(path), partial(_trajectory, root=folder, task=path.stem), KEYS)


def _trajectory(record: Record, identity: str, origin: str, *, root: Path, task: str) -> Trajectory:
    images = _images(record, "image_input", root, origin)
    helpers = _images(record, "image_output", root, origin)
    asked, told = field(record, "text_input", str), field(record, "text_output", str)
    *before, last = told.split(SLOT)
    if len(before) != len(helpers):
        message = f"text_output has {len(before)} {SLOT} for {len(helpers)} image_output; each image needs one."
        raise DataError(message, "placeholder")
    looks = [Step(text.strip(), image=image) for text, image in zip(before, helpers, strict=True)]
    question, places = question_of(asked, len(images))
    return Trajectory(
        id=identity,
        images=images,
        question=question,
        steps=(*looks, Step(last.strip())),
        answer=tagged_answer(last),
        task=task,
        image_places=places,
    )


def _images(record: Record, key: str, root: Path, origin: str) -> tuple[LazyImage, ...]:
    value = record.get(key)
    paths = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(one, str) for one in paths):
        raise DataError(f"key {key!r} must be a path or a list of paths, got {shown(value)}.", "key")
    try:
        return tuple(image_in(root, checked(one, str, key), origin=origin) for one in paths)
    except DataError as err:
        if err.problem != "image missing":
            raise
        hint = f"{err} If paths are relative to another folder, say so: #root=FOLDER."
        raise DataError(hint, err.problem) from None
