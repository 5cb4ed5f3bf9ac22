"""The training data of Mirage (Machine Mental Imagery): JSON lines with helper images.

A line is ``{"text_input", "text_output", "image_input", "image_output"}``. ``text_input`` has an ``<image>`` for each
input image, usually between its words; ``text_output`` has an ``<output_image>`` for each helper image. Images are one
path or a list of paths, relative to the folder that Mirage is trained from, which the option ``root`` names.

Source: UMass-Embodied-AGI/Mirage@53f26de, README.md, src/task.py and data/examples/sample.jsonl.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.formats.chat_texts import question_of, tagged_answer
from jepa_vlm.trajectories.formats.images import ImageRoots, references
from jepa_vlm.trajectories.formats.json_files import JsonRecords
from jepa_vlm.trajectories.formats.records import FORMATS, Keys, OpenImage, ParsedRows
from jepa_vlm.trajectories.image import LazyImage
from jepa_vlm.trajectories.json_values import JsonObject, field
from jepa_vlm.trajectories.rows import Rows
from jepa_vlm.trajectories.trajectory import Step, Trajectory

SLOT = "<output_image>"
KEYS = Keys(("text_input", "text_output", "image_input", "image_output"), labels=("id",))


@FORMATS.register("mirage")
def read_mirage(path: Path, *, root: str = "", roots: str = "") -> Rows:
    """Return one row for each line.

    Args:
        path: The file.
        root: Folder that image paths are relative to; by default the file's.
        roots: A JSON file of folders by the beginning of a path, as for ``lvr``.
    """
    opened = ImageRoots.of(root or path.parent, roots, option="root").image
    return ParsedRows(JsonRecords(path), partial(_trajectory, task=path.stem), KEYS, opened)


def _trajectory(record: JsonObject, identity: str, image: OpenImage, *, task: str) -> Trajectory:
    images, helpers = _images(record, "image_input", image), _images(record, "image_output", image)
    asked, told = field(record, "text_input", str), field(record, "text_output", str)
    *before, last = told.split(SLOT)
    if len(before) != len(helpers):
        message = f"text_output has {len(before)} {SLOT} for {len(helpers)} image_output; each image needs one."
        raise DataError(message, "placeholder")
    looks = [Step(text.strip(), image=helper) for text, helper in zip(before, helpers, strict=True)]
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


def _images(record: JsonObject, key: str, image: OpenImage) -> tuple[LazyImage, ...]:
    paths = references(record.get(key), key)
    try:
        return tuple(image(one) for one in paths)
    except DataError as err:
        if err.problem != "image missing":
            raise
        hint = f"{err} If paths are relative to another folder, say so: #root=FOLDER."
        raise DataError(hint, err.problem) from None
