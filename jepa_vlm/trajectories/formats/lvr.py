"""The training data of LVR (Latent Visual Reasoning): a JSON list, or the meta file that lists such lists.

A record is ``{"dataset", "split", "question_id", "image": [PATH], "conversations": [human, gpt], "bboxes": [[x0, y0,
x1, y1], ...]}``; some files have the path without a list. Boxes are fractions of the image. The human turn is
``<image>\\nQUESTION``, gpt's is ``<lvr>\\n<answer> ANSWER </answer>``; each ``<lvr>`` consumes a box, and words may
stand before, between and after.
A meta file is a JSON list of ``{"ds_name", "data_path", "image_folder"}``.

One image per record: the format does not say which image a box is in.
Source: VincentLeebang/lvr@637a9f7, README.md and src/dataset/lvr_sft_dataset_packed.py.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.box import Box, Boxes
from jepa_vlm.trajectories.formats.chat_texts import TURN_KEYS, llava_turns, question_of, tagged_answer
from jepa_vlm.trajectories.formats.images import ImageRoots, references
from jepa_vlm.trajectories.formats.json_files import JsonRecords
from jepa_vlm.trajectories.formats.records import FORMATS, Keys, OpenImage, ParsedRows, unread_keys
from jepa_vlm.trajectories.image import LazyImage
from jepa_vlm.trajectories.json_values import JsonObject, choice, field
from jepa_vlm.trajectories.rows import Joined, Rows
from jepa_vlm.trajectories.trajectory import Step, ToolCall, Trajectory

# The sentences of Pearl's released code (pearl/data.py, get_messages_lvr).
FOCUS = "Now I will focus on the relevant part of the image within the normalized bounding boxes: {}."
RESULT = "Here is the relevant cropped part of the image within the normalized bounding boxes: {}."
SLOT = "<lvr>"
STYLES = ("pearl", "original")
KEYS = Keys(("dataset", "image", "bboxes"), {"conversations": TURN_KEYS}, ("id", "split", "question_id"))
META = Keys(("ds_name", "data_path", "image_folder"), labels=("ds_type",))


@FORMATS.register("lvr")
def read_lvr(
    path: Path, *, images: str = "", roots: str = "", root: str = "", style: str = "pearl", boxes: str = ""
) -> Rows:
    """Return the rows of a list, or of all the lists of a meta file.

    Args:
        path: The list or the meta file.
        images: Folder that image paths are relative to; by default the list's, or the one that the meta file names.
        roots: A JSON file ``{"viscot/flickr30k": "/data/flickr30k-images", ...}``: the folder of paths that begin so.
            The released paths follow no official image tree.
        root: Folder that the paths in a meta file must lie in; by default the meta file's.
        style: ``pearl`` writes a crop in words, as Pearl does, and strips the tags; ``original`` keeps the answer's
            tags and writes the crop as a JSON call, for recipes that put latent tokens in its place.
        boxes: The unit of boxes; by default ``fractions``.

    Raises:
        DataError: If a file is missing or no list, or a meta file leads out of the root.
    """
    choice(style, STYLES, "style")
    read = Boxes.of(boxes, "fractions")
    records = JsonRecords(path)
    if "data_path" not in _first(records):
        return _rows(records, ImageRoots.of(images or path.parent, roots), style, read)
    parts = []
    for index in range(len(records)):
        try:
            entry = records.read(index)
            data = _inside(path.parent, field(entry, "data_path", str), root)
            folder = images or _inside(path.parent, field(entry, "image_folder", str), root)
            listed = JsonRecords(data)
            listed.label = field(entry, "ds_name", str)
            notes = tuple(unread_keys(entry, META, f"{path.name}: "))
        except DataError as err:
            raise err.at(records.place(index)) from None
        parts.append(_rows(listed, ImageRoots.of(folder, roots), style, read, notes))
    return Joined(parts)


def _first(records: JsonRecords) -> JsonObject:
    try:
        return records.read(0)
    except DataError:
        return {}  # the error is raised again when the row is read


def _inside(folder: Path, reference: str, root: str) -> Path:
    path, bounds = folder / reference, Path(root).expanduser() if root else folder
    if not path.resolve().is_relative_to(bounds.resolve()):
        message = f"path {reference!r} leads outside {bounds}; name a folder that holds it: #root=FOLDER."
        raise DataError(message, "image path")
    return path


def _rows(records: JsonRecords, roots: ImageRoots, style: str, boxes: Boxes, notes: tuple[str, ...] = ()) -> ParsedRows:
    return ParsedRows(records, partial(_trajectory, style=style, read=boxes), KEYS, roots.image, notes=notes)


def _trajectory(record: JsonObject, identity: str, image: OpenImage, *, style: str, read: Boxes) -> Trajectory:
    paths = references(record.get("image"), "image")
    if len(paths) != 1:
        message = f"key 'image' must hold one path, got {len(paths)}: the format does not say which one a box is in."
        raise DataError(message, "key")
    picture = image(paths[0])
    boxes = [read.read(one, f"bboxes[{i}]", picture.size) for i, one in enumerate(field(record, "bboxes", list))]
    turns = llava_turns(record)
    if len(turns) != 2:
        raise DataError(f"conversations must be one human and one gpt turn, got {len(turns)}.", "turns")
    asked, told = turns
    *before, last = told.split(SLOT)
    if len(before) != len(boxes):
        message = f"the gpt turn has {len(before)} {SLOT} for {len(boxes)} bboxes; each box needs one."
        raise DataError(message, "placeholder")
    if "<answer>" not in last:
        raise DataError("the gpt turn must end with <answer> ... </answer>.", "key")
    said = last if style == "original" else last.replace("<answer>", "").replace("</answer>", "")
    looks = [look_at(picture, box, text.strip(), style=style) for text, box in zip(before, boxes, strict=True)]
    question, places = question_of(asked, 1, ends_first=True)
    return Trajectory(
        id=identity,
        images=(picture,),
        question=question,
        steps=(*looks, Step(said.strip())),
        answer=tagged_answer(last),
        task=field(record, "dataset", str, ""),
        image_places=places,
    )


def look_at(image: LazyImage, box: Box, text: str, *, style: str) -> Step:
    """Return the step that crops a box out of an image; the crop is cut whenever it is loaded.

    Args:
        image: The image, the trajectory's first.
        box: The region to crop; written in fractions.
        text: Words before the crop.
        style: ``pearl`` writes the box in Pearl's sentences; ``original`` writes the crop as a JSON call.
    """
    box = box.in_fractions(*image.size)
    edges = list(box.edges)
    crop = replace(image, region=box)
    arguments = {"bbox_2d": edges}
    if style == "original":
        return Step(text, ToolCall("crop", arguments, box), crop)
    written = " " * bool(text) + FOCUS.format(edges)
    return Step(text, ToolCall("crop", arguments, box, written=written), crop, RESULT.format(edges))
