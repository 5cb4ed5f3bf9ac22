"""inference.json: how an exported model answers, where its base's own ``generate`` is not enough.

A model that answers plainly has no such file: its folder is the base's files and nothing else.
"""

from __future__ import annotations

import json
from pathlib import Path

from jepa_vlm.errors import ExportError
from jepa_vlm.recipe.recipe import PLAIN

INFERENCE = "inference.json"


def write_inference(folder: Path, inference: str) -> None:
    """Write the file, for any way but the plain one."""
    if inference != PLAIN:
        (folder / INFERENCE).write_text(json.dumps({"inference": inference}) + "\n", encoding="utf-8")


def read_inference(folder: Path) -> str:
    """Return how the model of a folder answers.

    Raises:
        ExportError: If the file is there and does not say.
    """
    path = folder / INFERENCE
    if not path.is_file():
        return PLAIN
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["inference"]
    except (ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, str):
        raise ExportError(f'{path} must be {{"inference": NAME}}; export the run again.')
    return found
