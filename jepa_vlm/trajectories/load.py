"""From what a user writes after ``--data`` to trajectories."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from inspect import Parameter, signature
from pathlib import Path
from typing import final

from jepa_vlm.errors import DataError, UnknownNameError
from jepa_vlm.trajectories.formats import FORMATS, Reader
from jepa_vlm.trajectories.formats.detect import detect
from jepa_vlm.trajectories.formats.hub import PREFIX, HubPath, no_hub
from jepa_vlm.trajectories.rows import Keeping, Rows

_NAMED = re.compile(r"([A-Za-z][\w-]+):(.*)", re.DOTALL)
_NEXT = re.compile(r",(?=[A-Za-z][\w-]+:)")
_WEIGHTED = re.compile(r"(.+)\*(\d+(?:\.\d+)?)", re.DOTALL)
KEEP = "keep"  # the option of every format: special tokens that its texts may hold
AUTO = "auto"  # the source of a bare path: the format is found by what the file holds
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


def split_mixture(spec: str) -> list[tuple[str, float]]:
    """Return (spec, weight) of each source of ``SPEC*WEIGHT,SPEC,...``; a comma parts sources where NAME: follows it.

    Raises:
        DataError: If a weight is zero.
    """
    found = []
    for part in _NEXT.split(spec):
        weighted = _WEIGHTED.fullmatch(part)
        text, weight = (weighted[1], float(weighted[2])) if weighted is not None else (part, 1.0)
        if weight <= 0:
            raise DataError(f"A source's weight must be positive, got {part!r}.")
        found.append((text, weight))
    return found


def parse_spec(spec: str) -> DataSpec:
    """Return the parts of ``NAME:REST`` or ``NAME:REST#KEY=VALUE,KEY=VALUE``, or of a bare path, whose source is AUTO.

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
    if named is None and (spec.endswith((".json", ".jsonl", ".parquet")) or (spec and Path(spec).is_dir())):
        return DataSpec(AUTO, spec)
    raise DataError(
        f"Data must be NAME:PATH (such as jsonl:data/train.jsonl), or the path of a folder or of a .json, .jsonl or "
        f".parquet file, got {spec!r}."
    )


def load_trajectories(spec: str | DataSpec) -> Rows:
    """Return the rows of a data file, indexed but not yet read.

    Args:
        spec: ``FORMAT:PATH``, ``FORMAT:PATH#KEY=VALUE``, ``FORMAT:hf://OWNER/NAME@REVISION``, or a path, whose format
            is found. Where a file's name holds what looks like options, it is the name. Every format has the option
            ``keep=TOKEN+TOKEN``, see ``Trajectory``.

    Raises:
        DataError: If the file is not what it must be, or an option is given to a format that takes none.
        UnknownNameError: If there is no such format or option.
    """
    parts = parse_spec(spec) if isinstance(spec, str) else spec
    if parts.rest.startswith(PREFIX):
        reader, hub = FORMATS[parts.source], HubPath.parse(parts.rest)
        if "split" not in signature(reader).parameters:
            raise no_hub(parts.source, hub)
        return _read(reader, hub, parts)
    path = Path(parts.whole).expanduser()
    reader = FORMATS[detect(path) if parts.source == AUTO else parts.source]
    if not parts.options or path.exists():
        return reader(path)
    return _read(reader, Path(parts.rest).expanduser(), parts)


def _read(reader: Reader, path: Path | HubPath, parts: DataSpec) -> Rows:
    """Return the rows of a reader under the options, its own and those that every format has."""
    known = [name for name, one in signature(reader).parameters.items() if one.kind is Parameter.KEYWORD_ONLY]
    for name in parts.options:
        if name not in (*known, KEEP):
            raise UnknownNameError(f"option of {parts.source}", name, known=(*known, KEEP))
    own = {name: value for name, value in parts.options.items() if name in known}
    rows = reader(path, **own)
    tokens = [token for token in parts.options.get(KEEP, "").split("+") if token]
    return Keeping(rows, tokens) if tokens else rows
