"""Visual-CoT's metadata: JSON lines with boxes in pixels.

A line is ``{"question", "answer", "image", "width", "height", "bboxs": [[x0, y0, x1, y1], ...], "dataset", "split"}``,
some with ``full_answer`` or ``thought`` besides. Images lie at ``DATASET/IMAGE`` below the folder of images (textcap's
below textvqa). Boxes are pixels of an image of the stated width and height, and have fractions; each becomes one crop.

Source: deepcs233/Visual-CoT@bd7d040, viscot_dataset/ and tools/convert_data_to_llava_format.py.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.box import Boxes
from jepa_vlm.trajectories.formats.images import ImageRoots
from jepa_vlm.trajectories.formats.json_files import JsonRecords
from jepa_vlm.trajectories.formats.lvr import look_at
from jepa_vlm.trajectories.formats.records import FORMATS, Keys, OpenImage, ParsedRows
from jepa_vlm.trajectories.json_values import JsonObject, field
from jepa_vlm.trajectories.rows import Rows
from jepa_vlm.trajectories.trajectory import Step, Trajectory

KEYS = Keys(
    ("question", "answer", "image", "width", "height", "bboxs", "dataset"),
    labels=("id", "split", "full_answer", "thought"),
)
SHARED = {"textcap": "textvqa"}  # data sets whose images lie in the folder of another


@FORMATS.register("viscot")
def read_viscot(path: Path, *, images: str = "", roots: str = "", boxes: str = "") -> Rows:
    """Return one row for each line.

    Args:
        path: DATASET_cot_train.jsonl.
        images: Folder that holds a folder for each data set; by default the file's.
        roots: A JSON file ``{"flickr30k": "/data/flickr30k-images", ...}``: data sets whose images lie elsewhere.
        boxes: The unit of boxes; by default ``pixels``.
    """
    read, opened = Boxes.of(boxes, "pixels"), ImageRoots.of(images or path.parent, roots).image
    return ParsedRows(JsonRecords(path), partial(_trajectory, read=read), KEYS, opened)


def _trajectory(record: JsonObject, identity: str, image: OpenImage, *, read: Boxes) -> Trajectory:
    dataset = field(record, "dataset", str)
    picture = image(field(record, "image", str), below=SHARED.get(dataset, dataset))
    stated = field(record, "width", int), field(record, "height", int)
    if stated != picture.size:
        width, height = picture.size
        message = f"boxes are for an image of {stated[0]} x {stated[1]}, but it has {width} x {height}"
        if picture.is_turned and stated == (height, width):
            message += " as viewers show it, turned by its EXIF orientation: give boxes and size of the turned picture"
        raise DataError(f"{message}.", "box")
    boxes = [read.read(edges, f"bboxs[{i}]", stated) for i, edges in enumerate(field(record, "bboxs", list))]
    if not boxes:
        raise DataError("key 'bboxs' must hold at least one box, got none.", "box")
    answer = field(record, "answer", str)
    return Trajectory(
        id=identity,
        images=(picture,),
        question=field(record, "question", str),
        steps=(*(look_at(picture, box, "", style="pearl") for box in boxes), Step(answer)),
        answer=answer,
        task=dataset,
    )
