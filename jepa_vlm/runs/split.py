"""Which rows of files are held out: whole pictures, so that no held-out row shows one that a run trains on."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

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


def split_by_picture(sources: Sequence[tuple[Sequence[str], Sequence[bytes]]]) -> list[Split]:
    """Return what each source holds out.

    A picture is held out with all its rows, in every source. The first to go are those of the rows whose ids have the
    smallest SHA-256, as long as no more than the source's share is held out and every source keeps rows to train on.
    The rule knows no seed, so every run on the same files holds out the same rows; where rows have ids of their own, it
    does not know their order either.

    Args:
        sources: Of each source the rows' ids, and a key of each row's first picture; at least two rows.
    """
    rows = [Counter(pictures) for _, pictures in sources]  # by source and picture
    chosen: set[bytes] = set()
    held = [0] * len(sources)
    for number, (ids, pictures) in enumerate(sources):
        wanted, own = share(len(ids)), rows[number]
        order = list(dict.fromkeys(pictures[i] for i in sorted(range(len(ids)), key=lambda i: _hashed(ids[i]))))
        if min(own.values()) > wanted:  # every picture has more rows than the share: one of the rarest goes
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
        trained.update(picture for i, picture in enumerate(pictures) if i not in out)
    return [
        Split(tuple(sorted(out)), shared=sum(pictures[i] in trained for i in out))
        for (_, pictures), out in zip(sources, held_out, strict=True)
    ]


def share(rows: int) -> int:
    """Return how many of so many rows are held out."""
    return max(1, min(MOST, rows // SHARE))


def _held_out(ids: Sequence[str], pictures: Sequence[bytes], chosen: set[bytes]) -> set[int]:
    """Return the rows that show a chosen picture; where there is none, those with the smallest hashes."""
    found = {i for i, picture in enumerate(pictures) if picture in chosen}
    return found or set(sorted(range(len(ids)), key=lambda i: _hashed(ids[i]))[: share(len(ids))])


def _hashed(identity: str) -> bytes:
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).digest()
