"""Images that are opened when they are needed, and refused if they cannot be used."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.box import Box

MAX_PIXELS = 64_000_000  # an 8000 x 8000 photograph; beyond it, decoding alone takes hundreds of megabytes
SHOWN = 200  # characters of a path that a message repeats
# The kinds that are read. Pillow reads more: EPS, for which it starts Ghostscript, and containers such as ICO, whose
# content may be larger than they state.
KINDS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
ORIENTATION, ON_ITS_SIDE = 274, (5, 6, 7, 8)  # the EXIF tag, and its values that swap width and height
BITS_PER_SAMPLE = 258  # the TIFF tag
BROKEN = (  # what Pillow's readers raise on broken files
    OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, OverflowError, struct.error, zlib.error,
    Image.DecompressionBombError,
)  # fmt: skip


@final
@dataclass(frozen=True)
class LazyImage:
    """An image by path, by encoded bytes (given, or read when needed), or already open: exactly one of the four.

    Size and pixels are those of the picture as viewers and the stock processors of transformers show it: turned by its
    EXIF orientation, transparency on white, the first of several frames.

    Args:
        path: A file.
        data: An encoded image (PNG, JPEG, ...).
        read: A function that returns an encoded image, so that a store keeps nothing in memory.
        pixels: An open image.
        region: A part of the picture, such as a crop that is not stored as a file; None for all of it.
        known: Width and height of the whole picture, if they are known without opening it; checked on loading.
        sha256: Hash of the encoded picture, if it is known without reading it.
        origin: File and row of the reference ("data.jsonl:7"), for messages.
        resized: Width and height that the image is scaled to on loading; None for its own.
        truth: A function that returns exact maps of the whole picture, by name, if a program drew it. Two images that
            differ in it alone are equal.
    """

    path: Path | None = None
    data: bytes | None = None
    read: Callable[[], bytes] | None = None
    pixels: Image.Image | None = None
    region: Box | None = None
    known: tuple[int, int] | None = None
    sha256: bytes | None = field(default=None, compare=False, repr=False)
    origin: str = ""
    resized: tuple[int, int] | None = None
    truth: Callable[[], Mapping[str, NDArray[np.float32]]] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        given = [name for name in ("path", "data", "read", "pixels") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"An image needs exactly one of path, data, read, pixels; got {given or 'none'}.")

    @property
    def source(self) -> tuple[Hashable, ...]:
        """A key of this image's pixels: equal for two references to the same part of the same file."""
        read = (self.read.func, self.read.args) if isinstance(self.read, partial) else self.read
        pixels = None if self.pixels is None else id(self.pixels)
        return self.path, self.data, read, pixels, self.region, self.resized

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, read from the header alone.

        Raises:
            DataError: If the image is missing, unreadable, larger than ``MAX_PIXELS``, or of values of unknown range.
        """
        if self.resized is not None:
            return self.resized
        if self.known is not None:
            width, height = self.known
        else:
            with self._open() as image:
                width, height = image.size[::-1] if _orientation(image) in ON_ITS_SIDE else image.size
        if self.region is None:
            return width, height
        left, top, right, bottom = self.region.in_pixels(width, height)
        return right - left, bottom - top

    @property
    def is_turned(self) -> bool:
        """Whether the EXIF orientation turns or mirrors the stored picture before viewers show it.

        Raises:
            DataError: As for ``size``.
        """
        with self._open() as image:
            return _orientation(image) != 1

    def encoded(self) -> bytes | None:
        """Return the bytes of the file as they are stored, or None for an open image.

        Raises:
            DataError: If the file is missing.
        """
        if self.path is not None:
            try:
                return self.path.read_bytes()
            except OSError as err:
                raise self._error(f"cannot be read ({err.strerror}).", "image missing") from None
        return self.read() if self.read is not None else self.data

    def load(self) -> Image.Image:
        """Return the decoded RGB image. A path is read again on every call, so that a data set needs little memory.

        Raises:
            DataError: If the image is missing, unreadable, larger than ``MAX_PIXELS``, or of values of unknown range.
        """
        with self._open() as image:
            try:
                return self._cut(_upright_rgb(image))
            except BROKEN as err:
                raise self._error(f"cannot be decoded ({err}); replace or drop it.") from None

    def digest(self) -> bytes:
        """Return a SHA-256 of the region, the size, and the source: the file, undecoded, or an open image's pixels.

        Equal digests mean equal pictures. The same picture in another file has another digest.

        Raises:
            DataError: If the image is missing or unreadable.
        """
        digest = hashlib.sha256(repr((self.region, self.resized)).encode())
        if self.pixels is not None:
            image = self.load()
            digest.update(f"pixels {image.size}".encode() + image.tobytes())
        else:
            with self._open():  # refuses what is no image
                digest.update(b"file" + (self.encoded() or b""))
        return digest.digest()

    def picture(self) -> bytes:
        """Return the SHA-256 of the file of the whole picture, without regard to the region.

        An open image has no file; its pixels are hashed.

        Raises:
            DataError: If the file is missing.
        """
        if self.sha256 is not None:
            return self.sha256
        content = self.encoded()
        if content is None:
            whole = replace(self, region=None, resized=None).load()
            content = f"pixels {whole.size}".encode() + whole.tobytes()
        return hashlib.sha256(content).digest()

    def _cut(self, image: Image.Image) -> Image.Image:
        if self.known not in (None, image.size):
            raise self._error(f"has the size {image.size}, but {self.known} is stated; write the data anew.")
        if self.region is not None:
            image = image.crop(self.region.in_pixels(*image.size))
        return image if self.resized is None else image.resize(self.resized)

    def _open(self) -> AbstractContextManager[Image.Image]:
        """Return the picture, not yet decoded, after a check of its header."""
        image = self._undecoded() if self.pixels is None else self.pixels
        width, height = image.size
        if width * height > MAX_PIXELS:
            found = f"{width} x {height} = {width * height:,} pixels"
            raise self._error(f"is {found}, limit {MAX_PIXELS:,}; shrink it first.", "image too large")
        if image.mode in ("I", "F") and _bits(image) is None:
            kind = "32-bit whole numbers" if image.mode == "I" else "fractions (32-bit floats)"
            raise self._error(f"holds {kind}, which state no range from black to white; save it with 8 or 16 bits.")
        return image if self.pixels is None else nullcontext(image)  # an open image stays open

    def _undecoded(self) -> Image.Image:
        source = self.path if self.path is not None else io.BytesIO(self.encoded() or b"")
        try:
            with warnings.catch_warnings():  # the size is checked above, with one message
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                return Image.open(source, formats=_kinds())
        except FileNotFoundError:
            raise self._error("does not exist; check the path and the data root.", "image missing") from None
        except Image.DecompressionBombError:
            message = f"has too many pixels (limit {MAX_PIXELS:,}); shrink it first."
            raise self._error(message, "image too large") from None
        except UnidentifiedImageError:
            message = f"is not a readable image of the kinds {', '.join(_kinds())}; replace or drop it."
            raise self._error(message) from None
        except BROKEN as err:
            raise self._error(f"is not a readable image ({err}); replace or drop it.") from None

    def _error(self, message: str, problem: str = "image unreadable") -> DataError:
        name = str(self.path) if self.path is not None else "an embedded image"
        if len(name) > SHOWN:
            name = name[:SHOWN] + "..."
        place = f" ({self.origin})" if self.origin else ""
        return DataError(f"Image {name}{place} {message}", problem)


@cache
def _kinds() -> tuple[str, ...]:
    """Return the members of ``KINDS`` that this build of Pillow supports."""
    Image.init()
    return tuple(kind for kind in KINDS if kind in Image.OPEN)


def _orientation(image: Image.Image) -> int:
    """Return the orientation in the header (EXIF or XMP); an unreadable one is ignored, as viewers do."""
    if image.format == "TIFF":
        return 1  # Pillow turns it while it decodes, and its header has the turned size already
    try:
        found = Image.Image.getexif(image).get(ORIENTATION, 1)  # a PNG's own would decode it to look behind its pixels
    except BROKEN:
        return 1
    return found if isinstance(found, int) else 1


def _bits(image: Image.Image) -> int | None:
    """Return the number of bits of a gray picture of more than 8 bits, or None if its kind does not state it."""
    if image.mode.startswith("I;16"):
        return int(getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))[0])  # a TIFF may use 12 of them
    return 16 if image.mode == "I" and image.format in ("PNG", "PPM") else None


def _upright_rgb(image: Image.Image) -> Image.Image:
    """Return a picture as ``convert_to_rgb`` of transformers 5.23 does, except gray pictures of more than 8 bits.

    Pillow, and so transformers, clips those at 255: everything but the darkest shades would turn white.
    """
    turned = _orientation(image) != 1
    bits = _bits(image)
    if bits is not None:
        shades, clear = np.asarray(image), image.info.get("transparency")
        image = Image.fromarray((shades >> (bits - 8)).astype(np.uint8))
        if isinstance(clear, int):
            image.putalpha(Image.fromarray(np.where(shades == clear, 0, 255).astype(np.uint8)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    pixels = image.convert("RGB")
    return ImageOps.exif_transpose(pixels) if turned else pixels
