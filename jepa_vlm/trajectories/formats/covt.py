"""The training data of CoVT (Chain-of-Visual-Thought): parquet with LLaVA conversations and embedded images.

Columns are id, image ``{"bytes", "path"}``, image_relpath and conversations, a list of ``{"from", "value"}`` or the
same as JSON text. ``<image>`` opens the first human turn. CoVT trains on the first question and answer alone, which is
the default here too (``turns=first``). There are no boxes and no tool images.

Source: Wakals/CoVT@80a28bf, train/src/data_transform.py and train/src/training/data.py.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.formats.chat_texts import TURN_KEYS
from jepa_vlm.trajectories.formats.images import ImageRoots
from jepa_vlm.trajectories.formats.llava import TURNS, answered
from jepa_vlm.trajectories.formats.records import FORMATS, Keys, OpenImage, ParsedRows
from jepa_vlm.trajectories.formats.tables import CELL, Columns, HubPath, embedded_image, open_tables
from jepa_vlm.trajectories.json_values import JsonObject, choice, parse_json
from jepa_vlm.trajectories.rows import Joined, Rows
from jepa_vlm.trajectories.trajectory import Trajectory

COLUMNS: Columns = {"image": ("image",), "conversations": ("conversations",)}
KEYS = Keys(inside={"image": CELL, "conversations": TURN_KEYS}, labels=("id", "image_relpath"))


@FORMATS.register("covt")
def read_covt(
    path: Path | HubPath, *, split: str = "train", turns: str = "first", images: str = "", roots: str = ""
) -> Rows:
    """Return the rows of a parquet file, or of all of them below a folder.

    Args:
        path: The file, the folder, or the data set on the hub.
        split: The split to read, in a folder of several or on the hub.
        turns: ``first`` keeps the first question and answer; ``one`` refuses rows that have more.
        images: Folder of images that are stored as paths; by default the file's.
        roots: A JSON file of folders by the beginning of a path, as for ``lvr``.
    """
    choice(turns, TURNS, "turns")
    return Joined(
        [
            ParsedRows(records, partial(_trajectory, turns=turns), KEYS, ImageRoots.of(images or folder, roots).image)
            for _, folder, records in open_tables(path, COLUMNS, split=split)
        ]
    )


def _trajectory(row: JsonObject, identity: str, image: OpenImage, *, turns: str) -> Trajectory:
    picture = embedded_image(row.get("image"), "image", image)
    conversations = row.get("conversations")
    if isinstance(conversations, str):
        try:
            conversations = parse_json(conversations)
        except ValueError as err:
            raise DataError(f"column 'conversations' is no JSON ({err}).", "json") from None
    return answered(identity, (picture,), {"conversations": conversations}, turns=turns, task="covt")
