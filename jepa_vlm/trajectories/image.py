"""Images that are opened when they are needed, and refused when they are not what they should be."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import final

from PIL import Image, ImageOps, UnidentifiedImageError

from jepa_vlm.errors import DataError

MAX_PIXELS = 64_000_000  # an 8000 x 8000 photograph; beyond it, decoding alone takes hundreds of megabytes
ORIENTATION, ON_ITS_SIDE = 274, (5, 6, 7, 8)  # the EXIF tag, and its values that swap width and height


@final
@dataclass(frozen=True)
class LazyImage:
    """An image by path, by encoded bytes, or already open. Exactly one of the three is given.

    Size and pixels are those of the picture as viewers show it: turned as its EXIF orientation says.

    Args:
        path: A file.
        data: An encoded image (PNG, JPEG, ...).
        pixels: An open image.
        origin: Where the reference came from ("data.jsonl:7"), for messages.
        resized: Width and height that the image is scaled to whenever it is loaded; None for its own.
    """

    path: Path | None = None
    data: bytes | None = None
    pixels: Image.Image | None = None
    origin: str = ""
    resized: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("path", "data", "pixels") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"An image needs exactly one of path, data, pixels; got {given or 'none'}.")

    @property
    def source(self) -> tuple[Hashable, ...]:
        """What tells this image's pixels from another's: equal for two references to one file, buffer or open image."""
        return self.path, self.data, None if self.pixels is None else id(self.pixels), self.resized

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, read from the header alone.

        Raises:
            DataError: If the image is missing, unreadable or larger than ``MAX_PIXELS``.
        """
        if self.resized is not None:
            return self.resized
        if self.pixels is not None:
            return _upright_size(self._checked(self.pixels))
        with self._open() as image:
            return _upright_size(image)

    def load(self) -> Image.Image:
        """Return the decoded RGB image; a path is read anew on every call, so that a data set stays small in memory.

        Raises:
            DataError: If the image is missing, unreadable or larger than ``MAX_PIXELS``.
        """
        if self.pixels is not None:
            return self._scaled(_upright_rgb(self._checked(self.pixels)))
        with self._open() as image:
            try:
                return self._scaled(_upright_rgb(image))
            except OSError as err:
                raise DataError(f"{self._where()} cannot be decoded ({err}); replace or drop it.") from None

    def digest(self) -> bytes:
        """Return a SHA-256 of what the picture comes from, undecoded: its file as it is, or the pixels if it is open.

        Equal digests mean equal pictures; a file that was written anew counts as another one.

        Raises:
            DataError: If the image is missing or unreadable.
        """
        digest = hashlib.sha256(repr(self.resized).encode())
        if self.pixels is not None:
            image = self.load()
            digest.update(f"pixels {image.size}".encode() + image.tobytes())
        elif self.path is not None:
            with self._open():
                digest.update(b"file" + self.path.read_bytes())
        else:
            digest.update(b"file" + (self.data or b""))
        return digest.digest()

    def _scaled(self, image: Image.Image) -> Image.Image:
        return image if self.resized is None else image.resize(self.resized)

    def _open(self) -> Image.Image:
        source = self.path if self.path is not None else io.BytesIO(self.data or b"")
        try:
            with warnings.catch_warnings():  # ours is the one message about size
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                image = Image.open(source)
        except FileNotFoundError:
            raise DataError(f"{self._where()} does not exist; check the path and the data root.") from None
        except Image.DecompressionBombError:
            raise DataError(f"{self._where()} has too many pixels (limit {MAX_PIXELS:,}); shrink it first.") from None
        except (UnidentifiedImageError, OSError) as err:
            raise DataError(f"{self._where()} is not a readable image ({err}); replace or drop it.") from None
        return self._checked(image)

    def _checked(self, image: Image.Image) -> Image.Image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise DataError(
                f"{self._where()} is {width} x {height} = {width * height:,} pixels, limit {MAX_PIXELS:,}; "
                "shrink it first."
            )
        return image

    def _where(self) -> str:
        name = str(self.path) if self.path is not None else "an embedded image"
        return f"Image {name}" + (f" ({self.origin})" if self.origin else "")


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation that the header holds; a PNG is not decoded to look for a later one."""
    return int(image.getexif().get(ORIENTATION, 1)) if "exif" in image.info else 1


def _upright_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if _orientation(image) in ON_ITS_SIDE else (width, height)


def _upright_rgb(image: Image.Image) -> Image.Image:
    turned = _orientation(image) != 1
    if image.mode.startswith("I;16"):  # Pillow would clip 16 bits to white
        image = image.point(lambda value: value / 256).convert("L")
    pixels = image.convert("RGB")
    return ImageOps.exif_transpose(pixels) if turned else pixels
