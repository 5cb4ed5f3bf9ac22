"""Image references of a data file: paths inside the folders that a user named, and images embedded in the file."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import final
from urllib.parse import unquote

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.image import LazyImage
from jepa_vlm.trajectories.json_values import checked, parse_object, shown

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


@final
@dataclass(frozen=True)
class ImageRoots:
    """The folders of a file's images.

    Args:
        folder: The data root of every path that has none of the prefixes; None on the hub, where there is no folder.
        mapped: Prefixes of paths, longest first, each with the data root that replaces it.
        option: The option that names another folder, for messages, or "".
    """

    folder: Path | None
    mapped: tuple[tuple[str, Path], ...] = ()
    option: str = ""

    @classmethod
    def of(cls, folder: str | Path | None, roots: str = "", *, option: str = "images") -> ImageRoots:
        """Return the roots that options name: a folder, and a JSON file of folders by prefix (or "").

        Raises:
            DataError: If the file cannot be read, or is not an object of texts.
        """
        base = None if folder is None else Path(folder).expanduser()
        if not roots:
            return cls(base, option=option)
        path = Path(roots).expanduser()
        try:
            prefixes = parse_object(path.read_bytes())
            found = [(name.strip("/"), Path(checked(to, str, f"key {name!r}"))) for name, to in prefixes.items()]
        except OSError as err:
            raise DataError(f"{path}: the map of image roots cannot be read ({err.strerror}).", "file") from None
        except DataError as err:
            raise err.at(str(path)) from None
        found.sort(key=lambda one: -len(one[0]))
        return cls(base, tuple((name, path.parent / to.expanduser()) for name, to in found), option)

    def image(self, reference: object, *, origin: str, below: str = "") -> LazyImage:
        """Return the image that a row refers to, checked by its header alone.

        Args:
            reference: A path, a ``file://`` path, a base64 data URI, or ``{"bytes", "path"}`` as the hub stores images,
                or ``{"url"}`` as OpenAI's messages do.
            origin: File and line of the row, for messages about the image later on.
            below: Folder of the data root that relative paths lie in.

        Raises:
            DataError: If a path leaves the roots (absolute, by "..", or through a link), the reference is of another
                kind or broken, or the image is missing, unreadable or absurdly large.
        """
        if isinstance(reference, Mapping):
            content, reference = reference.get("bytes"), reference.get("path") or reference.get("url")
            if isinstance(content, bytes) and content:
                return _checked(LazyImage(data=content, origin=origin))
            if not reference:
                raise DataError("an image has neither bytes nor a path.", "image missing")
        text = checked(reference, str, "an image path")
        if text[:5].lower() == "data:":
            return _checked(LazyImage(data=_decoded(text), origin=origin))
        address = _ADDRESS.match(text)
        if address is not None and address[1].lower() != "file":
            message = f"image path {shown(text)} is an address; download the images and name their folder."
            raise DataError(message, "image path")
        try:
            path = self._path(text if address is None else _local(text), below)
            if path.exists() and not path.is_file():
                raise DataError(f"image path {shown(text)} is no regular file.", "image path")
        except (OSError, RuntimeError, ValueError) as err:  # a name too long, links in a circle, a null byte
            reason = err.strerror if isinstance(err, OSError) and err.strerror else err
            raise DataError(f"image path {shown(text)} cannot be followed ({reason}).", "image path") from None
        _checked(LazyImage(path=path))
        return LazyImage(path=path, origin=origin)

    def _path(self, text: str, below: str) -> Path:
        """Return the path of a reference, if it lies in the roots."""
        if not text:
            raise DataError("image path '' must be relative to the data root; it is empty.", "image path")
        is_absolute = Path(text).is_absolute()
        name = text.lstrip("/") if is_absolute else PurePosixPath(below, text).as_posix()
        for prefix, folder in self.mapped:
            if name.startswith(f"{prefix}/"):
                return self._inside(folder / name.removeprefix(f"{prefix}/"), (folder,), text)
        if self.folder is None:
            message = f"image path {shown(text)} leads nowhere: a data set of the hub has no folder."
            raise DataError(message, "image path")
        if is_absolute:
            return self._inside(Path(text), (self.folder, *(folder for _, folder in self.mapped)), text)
        return self._inside(self.folder / name, (self.folder,), text)

    def _inside(self, path: Path, roots: tuple[Path, ...], text: str) -> Path:
        found = path.resolve()
        if any(found.is_relative_to(root.resolve()) for root in roots):
            return path
        root, is_absolute = f"the data root {roots[0]}", Path(text).is_absolute()
        must = f"must be relative to {root} or lie inside it" if is_absolute else f"leads outside {root}"
        named = f", or name a folder that holds it: #{self.option}=FOLDER, #roots=FILE" if self.option else ""
        raise DataError(f"image path {shown(text)} {must}; move the image into it{named}.", "image path")


def _checked(image: LazyImage) -> LazyImage:
    image.size  # noqa: B018 - raises if the header shows that the image cannot be used
    return image


def _decoded(uri: str) -> bytes:
    """Return the bytes of a base64 data URI."""
    head, comma, content = uri.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        message = f"image path {shown(uri)} must be data:image/KIND;base64,... to hold an image."
        raise DataError(message, "image path")
    try:
        return base64.b64decode("".join(content.split()), validate=True)
    except (binascii.Error, ValueError) as err:
        raise DataError(f"image path {shown(uri)} is no base64 ({err}).", "image path") from None


def _local(uri: str) -> str:
    """Return the path of a ``file://`` URI.

    Writers seldom escape it, so it is unescaped only if there is no file of the name as it is written.
    """
    path = uri[len("file://") :]
    path = path.removeprefix("localhost") if path.startswith("localhost/") else path
    return unquote(path) if "%" in path and not Path(path).exists() else path


def references(value: object, key: str) -> list[object]:
    """Return the image references of a key that holds one or a list.

    Raises:
        DataError: If it holds anything else.
    """
    found = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(one, str | Mapping) for one in found):
        raise DataError(f"key {key!r} must be a path or a list of paths, got {shown(value)}.", "key")
    return found
