"""The rows of files that a run holds out, and the digest by which a resumed run recognises its rows.

Whole pictures are held out, so that no held-out row shows a picture that a run trains on.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.formats.jsonl import row_of
from jepa_vlm.trajectories.image import LazyImage
from jepa_vlm.trajectories.rows import Rows

SHARE, MOST = 20, 512  # one row in 20 of each source is held out, at most 512


@final
@dataclass(frozen=True)
class Split:
    """The rows that one source holds out.

    Args:
        held_out: Their indices, in order.
        shared: How many of them show a picture that a source trains on: 0, unless no whole picture could be held out,
            such as where every row shows the same one.
    """

    held_out: tuple[int, ...]
    shared: int = 0


def split_by_picture(sources: Sequence[tuple[Sequence[str], Sequence[bytes | None]]]) -> list[Split]:
    """Return what each source holds out.

    A picture is held out with all its rows, in every source. The first to go are those of the rows whose ids have the
    smallest SHA-256, as long as no more than the source's share is held out and every source keeps rows to train on.
    The rule knows no seed, so every run on the same files holds out the same rows; where rows have ids of their own, it
    does not know their order either.

    Args:
        sources: Of each source the rows' ids, and a key of each row's first picture; None of a row that cannot be read,
            which is not held out. At least two rows.
    """
    rows = [Counter(picture for picture in pictures if picture is not None) for _, pictures in sources]
    chosen: set[bytes] = set()
    held = [0] * len(sources)
    for number, (ids, pictures) in enumerate(sources):
        own = rows[number]
        wanted = share(own.total())
        by_id = (pictures[i] for i in sorted(range(len(ids)), key=lambda i: _hashed(ids[i])))
        order = list(dict.fromkeys(picture for picture in by_id if picture is not None))
        if min(own.values(), default=0) > wanted:  # every picture has more rows than the share: one of the rarest goes
            wanted, order = min(own.values()), sorted(order, key=own.__getitem__)
        for picture in order:
            if held[number] + own[picture] > wanted or picture in chosen:
                continue
            if all(so_far + each[picture] < each.total() for so_far, each in zip(held, rows, strict=True)):
                chosen.add(picture)
                held = [so_far + each[picture] for so_far, each in zip(held, rows, strict=True)]
    held_out = [_held_out(ids, pictures, chosen) for ids, pictures in sources]
    trained: set[bytes] = set()
    for (_, pictures), out in zip(sources, held_out, strict=True):
        trained.update(picture for i, picture in enumerate(pictures) if i not in out and picture is not None)
    return [
        Split(tuple(sorted(out)), shared=sum(pictures[i] in trained for i in out))
        for (_, pictures), out in zip(sources, held_out, strict=True)
    ]


def share(rows: int) -> int:
    """Return how many of so many rows are held out."""
    return max(1, min(MOST, rows // SHARE))


def _held_out(ids: Sequence[str], pictures: Sequence[bytes | None], chosen: set[bytes]) -> set[int]:
    """Return the rows that show a chosen picture; where there is none, those with the smallest hashes."""
    found = {i for i, picture in enumerate(pictures) if picture in chosen}
    return found or set(sorted(range(len(ids)), key=lambda i: _hashed(ids[i]))[: share(len(ids))])


def _hashed(identity: str) -> bytes:
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).digest()


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
