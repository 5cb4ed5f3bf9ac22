"""A data root with images, good and hostile, and files in the layouts of the formats."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

from PIL import Image

HOSTILE = [  # a reference to an image, the kind of problem, and what the message says
    ("gone.png", "image missing", "does not exist"),
    ("/etc/passwd", "image path", "must be relative to the data root"),
    ("../secret.png", "image path", "leads outside the data root"),
    ("link.png", "image path", "leads outside the data root"),
    ("a\0.png", "image path", "cannot be followed"),
    ("", "image path", "must be relative"),
    ("folder", "image path", "is no regular file"),
    ("text.png", "image unreadable", "is not a readable image"),
    ("huge.png", "image too large", "50000 x 50000|too many pixels"),
]


def png(width: int = 40, height: int = 20, color: str = "red") -> bytes:
    held = io.BytesIO()
    Image.new("RGB", (width, height), color).save(held, format="PNG")
    return held.getvalue()


def png_header(width: int, height: int) -> bytes:
    """The start of a PNG that claims a size, without any pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">II", zlib.crc32(body), 0) + b"IDAT"


def make_root(folder: Path) -> Path:
    """Return a data root with the 40 x 20 images a.png and b.png, and everything that ``HOSTILE`` refers to."""
    root = folder / "data"
    (root / "folder").mkdir(parents=True)
    (root / "a.png").write_bytes(png())
    (root / "b.png").write_bytes(png(color="blue"))
    (root / "text.png").write_text("not an image")
    (root / "huge.png").write_bytes(png_header(50_000, 50_000))
    (folder / "secret.png").write_bytes(png())
    (root / "link.png").symlink_to(folder / "secret.png")
    return root


def write_list(path: Path, *rows: object) -> Path:
    """Write a JSON list."""
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def write_lines(path: Path, *rows: object) -> Path:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
