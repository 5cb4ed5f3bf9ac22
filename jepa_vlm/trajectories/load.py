"""From what a user writes after ``--data`` to trajectories."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import final

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.formats import FORMATS
from jepa_vlm.trajectories.trajectory import Trajectory

_NAMED = re.compile(r"([A-Za-z][\w-]+):(.*)", re.DOTALL)


@final
@dataclass(frozen=True)
class DataSpec:
    """Where data comes from: ``jsonl:/data/train.jsonl``, ``playground:maze``.

    Args:
        source: Name of a format, or of another source of trajectories.
        rest: What the source is asked for; for a format, a path.
    """

    source: str
    rest: str

    def __str__(self) -> str:
        return f"{self.source}:{self.rest}"


def parse_spec(spec: str) -> DataSpec:
    """Return the parts of ``NAME:REST``; a bare path that ends in .jsonl is one of the native format.

    Raises:
        DataError: If the text is neither.
    """
    named = _NAMED.fullmatch(spec)
    if named is not None and named[2]:
        return DataSpec(named[1], named[2])
    if named is None and spec.endswith(".jsonl"):
        return DataSpec("jsonl", spec)
    raise DataError(
        f"Data must be NAME:PATH (such as jsonl:data/train.jsonl) or a path ending in .jsonl, got {spec!r}."
    )


def load_trajectories(spec: str | DataSpec) -> list[Trajectory]:
    """Return the trajectories of a data file.

    Args:
        spec: ``FORMAT:PATH``, or a path that ends in .jsonl.

    Raises:
        DataError: If the file, or a row of it, is not what it must be.
        UnknownNameError: If there is no such format.
    """
    parts = parse_spec(spec) if isinstance(spec, str) else spec
    return FORMATS[parts.source](Path(parts.rest).expanduser())
