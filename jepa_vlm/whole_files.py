"""Files and folders that are written whole or not at all. Safetensors files get the mode that the umask allows."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

PART = ".part"


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a path to write a file or a new folder to, and move what was written to ``path``.

    A process that is killed leaves the old file. The folder above is made if it is not there.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}{PART}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield part
        part.replace(path)
    finally:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        part.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, a text as UTF-8; see ``whole``."""
    with whole(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file; see ``whole``."""
    from safetensors.torch import save_file  # brings torch, which writing a text must not

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with whole(path) as part:
        save_file(plain, part, metadata=None if metadata is None else dict(metadata))
        follow_umask(part)


def follow_umask(path: Path) -> None:
    """Give a file the mode that ``open`` would have given it: safetensors lets none but its owner read it."""
    mask = os.umask(0o077)  # the only way to read it; whatever another thread makes meanwhile is private, not open
    os.umask(mask)
    path.chmod(0o666 & ~mask)
