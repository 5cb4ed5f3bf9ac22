"""From what a user writes after ``--data`` to trajectories."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from inspect import Parameter, signature
from pathlib import Path
from typing import final

from jepa_vlm.errors import DataError, UnknownNameError
from jepa_vlm.trajectories.formats import FORMATS
from jepa_vlm.trajectories.rows import Rows

_NAMED = re.compile(r"([A-Za-z][\w-]+):(.*)", re.DOTALL)
_OPTIONS = re.compile(r"(.+)#(\w+=[^,#]*(?:,\w+=[^,#]*)*)", re.DOTALL)


@final
@dataclass(frozen=True)
class DataSpec:
    """Where data comes from: ``jsonl:/data/train.jsonl``, ``playground:maze#direct=1``.

    Args:
        source: Name of a format, or of another source of trajectories.
        rest: What the source is asked for; for a format, a path.
        options: What stood behind a ``#``, as KEY=VALUE pairs.
    """

    source: str
    rest: str
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.source}:{self.whole}"

    @property
    def whole(self) -> str:
        """Everything behind the source's name: the path, where a ``#`` belongs to it."""
        options = ",".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.rest}#{options}" if options else self.rest


def parse_spec(spec: str) -> DataSpec:
    """Return the parts of ``NAME:REST`` or ``NAME:REST#KEY=VALUE,KEY=VALUE``; a bare path that ends in .jsonl is one of
    the native format.

    Raises:
        DataError: If the text is none of these, or sets an option twice.
    """
    named = _NAMED.fullmatch(spec)
    if named is not None and named[2]:
        found = _OPTIONS.fullmatch(named[2])
        if found is None:
            return DataSpec(named[1], named[2])
        pairs = [pair.partition("=")[::2] for pair in found[2].split(",")]
        options = dict(pairs)
        if len(options) < len(pairs):
            raise DataError(f"Every option may be given once, got {spec!r}.")
        return DataSpec(named[1], found[1], options)
    if named is None and spec.endswith(".jsonl"):
        return DataSpec("jsonl", spec)
    raise DataError(
        f"Data must be NAME:PATH (such as jsonl:data/train.jsonl) or a path ending in .jsonl, got {spec!r}."
    )


def load_trajectories(spec: str | DataSpec) -> Rows:
    """Return the rows of a data file, indexed but not yet read.

    Args:
        spec: ``FORMAT:PATH``, ``FORMAT:PATH#KEY=VALUE``, or a path that ends in .jsonl. Where a file's name holds what
            looks like options, it is the name.

    Raises:
        DataError: If the file is not what it must be, or an option is given to a format that takes none.
        UnknownNameError: If there is no such format or option.
    """
    parts = parse_spec(spec) if isinstance(spec, str) else spec
    reader, path = FORMATS[parts.source], Path(parts.whole).expanduser()
    if not parts.options or path.exists():
        return reader(path)
    known = [name for name, one in signature(reader).parameters.items() if one.kind is Parameter.KEYWORD_ONLY]
    if not known:
        raise DataError(
            f"{parts.source} takes no options, and no file is named {str(path)!r}; leave out what follows the '#'."
        )
    for name in parts.options:
        if name not in known:
            raise UnknownNameError(f"option of {parts.source}", name, known=known)
    return reader(Path(parts.rest).expanduser(), **parts.options)
