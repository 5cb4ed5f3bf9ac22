"""Images that are opened when they are needed, and refused when they are not what they should be."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import final

from PIL import Image, UnidentifiedImageError

from jepa_vlm.errors import DataError

MAX_PIXELS = 64_000_000  # an 8000 x 8000 photograph; beyond it, decoding alone takes hundreds of megabytes


@final
@dataclass(frozen=True)
class LazyImage:
    """An image by path, by encoded bytes, or already open. Exactly one of the three is given.

    Args:
        path: A file.
        data: An encoded image (PNG, JPEG, ...).
        pixels: An open image.
        origin: Where the reference came from ("data.jsonl:7"), for messages.
    """

    path: Path | None = None
    data: bytes | None = None
    pixels: Image.Image | None = None
    origin: str = ""

    def __post_init__(self) -> None:
        given = [name for name in ("path", "data", "pixels") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"An image needs exactly one of path, data, pixels; got {given or 'none'}.")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, read from the header alone.

        Raises:
            DataError: If the image is missing, unreadable or larger than ``MAX_PIXELS``.
        """
        if self.pixels is not None:
            return self._checked(self.pixels).size
        with self._open() as image:
            return image.size

    def load(self) -> Image.Image:
        """Return the decoded RGB image; a path is read anew on every call, so that a data set stays small in memory.

        Raises:
            DataError: If the image is missing, unreadable or larger than ``MAX_PIXELS``.
        """
        if self.pixels is not None:
            return self._checked(self.pixels).convert("RGB")
        with self._open() as image:
            try:
                return image.convert("RGB")
            except OSError as err:
                raise DataError(f"{self._where()} cannot be decoded ({err}); replace or drop it.") from None

    def _open(self) -> Image.Image:
        source = self.path if self.path is not None else io.BytesIO(self.data or b"")
        try:
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
