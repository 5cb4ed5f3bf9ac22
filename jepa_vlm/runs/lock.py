"""One process at a time in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from jepa_vlm.errors import RunError

LOCK = ".lock"  # stays behind; what counts is who holds it


@contextmanager
def alone(folder: Path, what: str) -> Iterator[None]:
    """Keep other processes out of a folder, which is made if it is not there; one that is killed lets go of it.

    Args:
        folder: To work in.
        what: It holds, for the message.

    Raises:
        RunError: If another process works in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise RunError(
            f"Another process works on the {what} in {folder}; wait until it ends, or give a new --output."
        ) from None
    try:
        yield
    finally:
        lock.release()


def holds_anything(folder: Path) -> bool:
    """Say whether a folder holds more than a lock."""
    return any(path.name != LOCK for path in folder.iterdir())
