"""Files that are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from jepa_vlm.tensor_files import whole


def write_whole(path: Path, text: str) -> None:
    """Write a text file, its folder too; see ``whole``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")
