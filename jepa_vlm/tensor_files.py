"""Files that are written whole or not at all. Safetensors files get the mode that the umask allows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

PART = ".part"


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a path to write to, and move what was written to ``path``: a killed process leaves the old file."""
    part = path.with_name(f"{path.name}.{os.getpid()}{PART}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file; see ``whole``."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with whole(path) as part:
        save_file(plain, part, metadata=None if metadata is None else dict(metadata))
        follow_umask(part)


def follow_umask(path: Path) -> None:
    """Give a file the mode that ``open`` would have given it: safetensors lets none but its owner read it."""
    mask = os.umask(0o077)  # the only way to read it; whatever another thread makes meanwhile is private, not open
    os.umask(mask)
    path.chmod(0o666 & ~mask)
