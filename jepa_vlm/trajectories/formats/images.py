"""Image references of a data file: inside the data root, there, and of a sane size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.formats.fields import checked, shown
from jepa_vlm.trajectories.formats.records import parse_object
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
    check_image(LazyImage(path=path))
    return LazyImage(path=path, origin=origin)


def check_image(image: LazyImage) -> LazyImage:
    """Return an image after a look at its header.

    Raises:
        DataError: If it is missing, unreadable or absurdly large.
    """
    image.size  # noqa: B018 - raises
    return image


@final
@dataclass(frozen=True)
class ImageRoots:
    """Where a file's images lie.

    Args:
        folder: The data root of every path that no prefix maps elsewhere.
        mapped: Prefixes of paths, longest first, and the data root that stands in their place.
    """

    folder: Path
    mapped: tuple[tuple[str, Path], ...] = ()

    @classmethod
    def of(cls, folder: str | Path, roots: str = "") -> ImageRoots:
        """Return the roots that options name: a folder, and a JSON file of folders by prefix, or "".

        Raises:
            DataError: If the file is not an object of texts.
        """
        if not roots:
            return cls(Path(folder).expanduser())
        path = Path(roots).expanduser()
        try:
            prefixes = parse_object(path.read_bytes())
            found = [(name.strip("/"), Path(checked(to, str, f"key {name!r}"))) for name, to in prefixes.items()]
        except OSError as err:
            raise DataError(f"{path}: the map of image roots cannot be read ({err.strerror}).", "file") from None
        except DataError as err:
            raise err.at(str(path)) from None
        found.sort(key=lambda one: -len(one[0]))
        return cls(Path(folder).expanduser(), tuple((name, path.parent / to.expanduser()) for name, to in found))

    def image(self, reference: str, *, origin: str) -> LazyImage:
        """Return the image that a row refers to; see ``image_in``."""
        for prefix, folder in self.mapped:
            if reference.startswith(f"{prefix}/"):
                return image_in(folder, reference.removeprefix(f"{prefix}/"), origin=origin)
        return image_in(self.folder, reference, origin=origin)
