"""Image references of a data file: inside the data root, there, and of a sane size."""

from __future__ import annotations

from pathlib import Path

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.formats.fields import shown
from jepa_vlm.trajectories.image import LazyImage


def image_in(root: Path, reference: str, *, origin: str) -> LazyImage:
    """Return the image that a row refers to, checked by its header alone.

    Args:
        root: Folder that every image must lie in.
        reference: Path relative to the root.
        origin: File and line of the row, for messages about the image later on.

    Raises:
        DataError: If the path leaves the root (absolute, by "..", or through a link), or the image is missing,
            unreadable or absurdly large.
    """
    if not reference or Path(reference).is_absolute():
        raise DataError(f"image path {reference!r} must be relative to the data root {root}.", "image path")
    path = root / reference
    try:
        inside = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError) as err:  # a name too long, links in a circle, a null byte
        raise DataError(f"image path {shown(reference)} cannot be followed ({err}).", "image path") from None
    if not inside:
        message = f"image path {reference!r} leads outside the data root {root}; move the image into it."
        raise DataError(message, "image path")
    if path.exists() and not path.is_file():
        raise DataError(f"image path {shown(reference)} is no regular file.", "image path")
    LazyImage(path=path).size  # noqa: B018 - raises on what cannot be opened
    return LazyImage(path=path, origin=origin)
