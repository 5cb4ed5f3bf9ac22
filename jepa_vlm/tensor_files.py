"""Safetensors files that are written whole or not at all, and that everybody may read whom the umask lets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors beside ``path`` and move them there: a killed process leaves the old file, never half a new one."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        save_file(plain, part, metadata=None if metadata is None else dict(metadata))
        follow_umask(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def follow_umask(path: Path) -> None:
    """Give a file the mode that ``open`` would have given it: safetensors lets none but its owner read it."""
    mask = os.umask(0o077)  # the only way to read it; whatever another thread makes meanwhile is private, not open
    os.umask(mask)
    path.chmod(0o666 & ~mask)
