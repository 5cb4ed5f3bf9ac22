"""LLaVA's format: a JSON list (or JSON lines) of conversations about images.

A record is ``{"id", "image": PATH or [PATH, ...], "conversations": [{"from": "human" or "gpt", "value"}, ...]}`` with
an ``<image>`` in the first human turn for each image; in an answer it is a word. Images behind all words come first, as
in LLaVA's code. Records without an image or with a video are dropped and counted. A trajectory has one question, so a
record of several turns is refused, unless ``turns=first`` is set: then the first pair is kept and the row is noted.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.formats.chat_texts import TURN_KEYS, llava_turns, question_of, tagged_answer
from jepa_vlm.trajectories.formats.images import ImageRoots, references
from jepa_vlm.trajectories.formats.json_files import JsonRecords
from jepa_vlm.trajectories.formats.records import FORMATS, Keys, OpenImage, ParsedRows
from jepa_vlm.trajectories.image import LazyImage
from jepa_vlm.trajectories.json_values import JsonObject, choice
from jepa_vlm.trajectories.rows import Rows
from jepa_vlm.trajectories.trajectory import Step, Trajectory

TURNS = ("one", "first")
LABELS = ("id", "model", "width", "height", "source", "data_source", "dataset", "split", "question_id", "type")
KEYS = Keys(("image",), {"conversations": TURN_KEYS}, LABELS)
LATER = "later questions left out"


@FORMATS.register("llava")
def read_llava(path: Path, *, images: str = "", roots: str = "", turns: str = "one") -> Rows:
    """Return one row for each conversation about images.

    Args:
        path: The list.
        images: Folder that image paths are relative to; by default the list's.
        roots: A JSON file of folders by the beginning of a path, as for ``lvr``.
        turns: ``one`` refuses a conversation of several questions; ``first`` keeps the first question and answer.
    """
    choice(turns, TURNS, "turns")
    records = JsonRecords(path)
    records.keep(_reason)
    opened = ImageRoots.of(images or path.parent, roots).image
    return ParsedRows(records, partial(_trajectory, turns=turns), KEYS, opened)


def _reason(record: JsonObject) -> str:
    """Return why a conversation is left out, or ""."""
    if record.get("video"):
        return "video"
    return "" if record.get("image") else "no image"


def _trajectory(record: JsonObject, identity: str, image: OpenImage, *, turns: str) -> Trajectory:
    images = tuple(image(one) for one in references(record.get("image"), "image"))
    return answered(identity, images, record, turns=turns, task="llava")


def answered(identity: str, images: tuple[LazyImage, ...], record: JsonObject, *, turns: str, task: str) -> Trajectory:
    """Return the first question of a record and its answer as a trajectory, with a note if later ones are left out.

    Raises:
        DataError: If there are later ones and ``turns`` is not ``first``.
    """
    found = llava_turns(record)
    if len(found) > 2 and turns != "first":
        count = len(found) // 2
        message = f"conversations must be one question and its answer, got {count}; #turns=first keeps the first."
        raise DataError(message, "turns")
    asked, answer, *later = found
    question, places = question_of(asked, len(images), ends_first=True)
    return Trajectory(
        identity,
        images,
        question,
        (Step(answer.strip()),),
        tagged_answer(answer),
        task=task,
        image_places=places,
        notes=(LATER,) if later else (),
    )
