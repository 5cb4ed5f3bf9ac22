"""Which scenes are for training and which are held out: decided by what a scene holds, not by a seed."""

from __future__ import annotations

import hashlib

SPLITS = ("train", "validation", "test")
_TRAIN, _VALIDATION = 0.8, 0.9


def split_of(key: str) -> str:
    """Return the one split that a scene belongs to, from a hash of its discrete content.

    Whatever the seed, the task or the question, a scene is drawn in its own split alone.
    """
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    if place < _TRAIN:
        return "train"
    return "validation" if place < _VALIDATION else "test"
