"""inference.json: how an exported model answers, where its base's own ``generate`` is not enough.

A model that answers plainly has no such file: its folder is the base's files and nothing else.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from jepa_vlm.errors import ExportError
from jepa_vlm.recipe import LatentDecoding
from jepa_vlm.recipe.recipe import PLAIN

INFERENCE = "inference.json"


class Inference(NamedTuple):
    """How a model answers: a name of ``jepa_vlm.generation.answering``, and how it thinks in latents, if it does."""

    name: str = PLAIN
    decoding: LatentDecoding | None = None


def write_inference(folder: Path, inference: Inference) -> None:
    """Write the file, for any way but the plain one."""
    if inference.name != PLAIN:
        decoding = {} if inference.decoding is None else {"decoding": asdict(inference.decoding)}
        text = json.dumps({"inference": inference.name, **decoding})
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
        found = Inference(name, None if decoding is None else LatentDecoding(**decoding))
    except (ValueError, KeyError, TypeError, AttributeError):
        name, found = None, Inference()
    if not isinstance(name, str):
        raise ExportError(f'{path} must be {{"inference": NAME}}; export the run again.')
    return found
