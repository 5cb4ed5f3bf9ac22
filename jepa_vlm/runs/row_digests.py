"""What a run's start must know of every row of a file: the picture that it shows, and a digest of what it holds."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.formats.jsonl import row_of
from jepa_vlm.trajectories.image import LazyImage
from jepa_vlm.trajectories.rows import Rows


@final
@dataclass(frozen=True)
class RowDigests:
    """What was found in a source.

    Args:
        pictures: Of each row, a key of its first picture, which rows that show the same file share; None of a row that
            cannot be read.
        digest: Of all rows in their order: ids, texts, boxes and the bytes of every picture, in hexadecimal.
    """

    pictures: tuple[bytes | None, ...]
    digest: str


def digest_rows(rows: Rows) -> RowDigests:
    """Read every row once. The message of a row that cannot be read is part of the digest."""
    known: dict[Path, bytes] = {}
    digest = hashlib.sha256()
    pictures: list[bytes | None] = []

    def picture(image: LazyImage) -> bytes:
        if image.path is None:
            return image.picture()
        if image.path not in known:
            known[image.path] = image.picture()
        return known[image.path]

    def saved(image: LazyImage) -> list[Any]:
        region = None if image.region is None else repr(image.region)
        return [picture(image).hex(), region, image.resized]

    for index, name in enumerate(rows.ids):
        try:
            trajectory = rows[index]
            found = json.dumps(row_of(trajectory, saved), sort_keys=True).encode()
            key: bytes | None = picture(trajectory.images[0])
        except DataError as err:
            found, key = f"{name}: {err}".encode("utf-8", "surrogatepass"), None
        digest.update(b"%d " % len(found) + found)
        pictures.append(key)
    return RowDigests(tuple(pictures), digest.hexdigest())
