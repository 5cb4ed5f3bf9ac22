"""What an exported folder says about itself: plain files, read without loading a weight."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from jepa_vlm.errors import ExportError
from jepa_vlm.generation.answering import Answering
from jepa_vlm.training.checkpoint import read_inference

PROCESSORS = ("processor_config.json", "preprocessor_config.json")


@final
@dataclass(frozen=True)
class ModelFolder:
    """A merged model on disk.

    Args:
        path: The folder, absolute.
        model_type: Of its configuration: ``"qwen2_5_vl"``.
        pixels: Least and most pixels of an image, where its image processor is limited so; else None.
        answering: How it answers: ``Recipe.answering`` of the run that it came from.
    """

    path: Path
    model_type: str
    pixels: tuple[int, int] | None
    answering: Answering

    @classmethod
    def read(cls, folder: Path) -> ModelFolder:
        """Read a folder.

        Raises:
            ExportError: If it is no exported model.
        """
        config = _json(folder / "config.json")
        model_type = config.get("model_type")
        if not isinstance(model_type, str) or not any((folder / name).is_file() for name in PROCESSORS):
            raise ExportError(
                f"{folder} must be an exported model: config.json with a model_type, weights and a processor. "
                "Export a run first: jepa-vlm export RUN --to FOLDER."
            )
        return cls(folder.resolve(), model_type, _pixels(folder), read_inference(folder))


def _pixels(folder: Path) -> tuple[int, int] | None:
    for name in PROCESSORS:
        held = _json(folder / name)
        processor = held.get("image_processor", held)
        size = processor.get("size") or {}
        # Older files state the pixels beside the size, and transformers lets these overrule it.
        low = processor.get("min_pixels") or size.get("shortest_edge")
        high = processor.get("max_pixels") or size.get("longest_edge")
        if "merge_size" in processor and isinstance(low, int) and isinstance(high, int):
            return low, high
    return None


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as err:
        raise ExportError(f"{path} is not JSON ({err}); export the run again.") from None
    return found if isinstance(found, dict) else {}
