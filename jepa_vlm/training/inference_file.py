"""inference.json: how an exported model answers, where its base's own ``generate`` is not all that there is to say.

It is not enough for a model that thinks in latents or calls tools; and one with an opening writes that first, so that
its answers are read from what it wrote. Any other folder has no such file: it is the base's files and nothing else.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from jepa_vlm.errors import ExportError
from jepa_vlm.recipe import LatentDecoding, Opening
from jepa_vlm.recipe.recipe import PLAIN

INFERENCE = "inference.json"


class Inference(NamedTuple):
    """How a model answers: a name of ``jepa_vlm.generation.answering``, and how it thinks in latents or what it writes
    first, if it does.
    """

    name: str = PLAIN
    decoding: LatentDecoding | None = None
    opening: Opening | None = None


def write_inference(folder: Path, inference: Inference) -> None:
    """Write the file, for any way but the plain one without an opening."""
    more = {"decoding": inference.decoding, "opening": inference.opening}
    said = {name: asdict(value) for name, value in more.items() if value is not None}
    if inference.name != PLAIN or said:
        text = json.dumps({"inference": inference.name, **said})
        (folder / INFERENCE).write_text(text + "\n", encoding="utf-8")


def read_inference(folder: Path) -> Inference:
    """Return how the model of a folder answers.

    Raises:
        ExportError: If the file is there and does not say.
    """
    path = folder / INFERENCE
    if not path.is_file():
        return Inference()
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        name, decoding = held["inference"], held.get("decoding")
        latents = None if decoding is None else LatentDecoding(**decoding)
        found = Inference(name, latents, read_opening(held.get("opening")))
    except (ValueError, KeyError, TypeError, AttributeError):
        name, found = None, Inference()
    if not isinstance(name, str):
        raise ExportError(f'{path} must be {{"inference": NAME}}; export the run again.')
    return found


def read_opening(held: dict[str, Any] | None) -> Opening | None:
    """Return an opening of its JSON values, as ``asdict`` makes them."""
    return None if held is None else Opening(text=held["text"], tokens=tuple(held["tokens"]))
