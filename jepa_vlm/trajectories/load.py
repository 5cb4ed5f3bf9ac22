"""Data specs: from the text behind ``--data`` to the rows of a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import Parameter, signature
from pathlib import Path
from typing import final

from jepa_vlm.errors import DataError, UnknownNameError
from jepa_vlm.trajectories.bad_rows import OPTIONS, BadRows
from jepa_vlm.trajectories.formats import FORMATS
from jepa_vlm.trajectories.formats.json_files import JsonRecords
from jepa_vlm.trajectories.formats.store import is_store
from jepa_vlm.trajectories.formats.tables import HUB, HubPath, is_table, parquet, parquet_files
from jepa_vlm.trajectories.json_values import shown
from jepa_vlm.trajectories.rows import Rows

_NAMED = re.compile(r"([A-Za-z][\w-]+):(.*)", re.DOTALL)
_NEXT = re.compile(r",(?=[A-Za-z][\w-]+:)")
_WEIGHTED = re.compile(r"(.+)\*(\d+(?:\.\d+)?)", re.DOTALL)
KEEP = "keep"  # the option of every format: special tokens that its texts may hold
AUTO = "auto"  # the source of a bare path: the file's content tells the format
SUFFIXES = (".json", ".jsonl", ".ndjson", ".parquet")
# Keys that only the records of one format have. The format of a file is the first whose keys its first record has.
KEYS = {
    "jsonl": {"steps", "question"},
    "mirage": {"text_input", "text_output"},
    "pixelreasoner": {"message_list"},
    "viscot": {"bboxs", "dataset"},
    "lvr": {"bboxes", "conversations"},
    "thinkmorph": {"problem_image_0", "reasoning_image_0"},
    "covt": {"image_relpath", "conversations"},
    "messages": {"messages"},
}
META = {"data_path", "image_folder"}  # keys of LVR's meta file
_OPTIONS = re.compile(r"(.+)#(\w+=[^,#]*(?:,\w+=[^,#]*)*)", re.DOTALL)


@final
@dataclass(frozen=True)
class DataSpec:
    """The parts of a data spec: ``jsonl:/data/train.jsonl``, ``playground:maze#direct=1``.

    Args:
        source: Name of a format, or of another source of trajectories.
        rest: The path of a file; for another source, its argument.
        options: The KEY=VALUE pairs behind a ``#``.
    """

    source: str
    rest: str
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.source}:{self.whole}"

    @property
    def whole(self) -> str:
        """Everything behind the source's name: the path, if the ``#`` belongs to it."""
        options = ",".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.rest}#{options}" if options else self.rest


def split_mixture(spec: str) -> list[tuple[str, float]]:
    """Return (spec, weight) of each source of ``SPEC*WEIGHT,SPEC,...``; a comma separates sources if NAME: follows it.

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
    source, rest = (named[1], named[2]) if named is not None else (AUTO, spec)
    found = _OPTIONS.fullmatch(rest)
    if found is not None and (source != AUTO or _is_path(found[1])):
        pairs = [pair.partition("=")[::2] for pair in found[2].split(",")]
        options = dict(pairs)
        if len(options) < len(pairs):
            raise DataError(f"Every option may be given once, got {spec!r}.")
        return DataSpec(source, found[1], options)
    if rest and (source != AUTO or _is_path(rest)):
        return DataSpec(source, rest)
    raise DataError(
        f"Data must be NAME:PATH (such as jsonl:data/train.jsonl), or the path of a folder or of a "
        f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file, got {spec!r}."
    )


def _is_path(text: str) -> bool:
    """Return whether a text without a format's name is meant as a file or a folder."""
    return text.lower().endswith(SUFFIXES) or (text != "" and Path(text).is_dir())


def load_trajectories(spec: str | DataSpec) -> Rows:
    """Return the rows of a data file, indexed but not yet read.

    Args:
        spec: ``FORMAT:PATH``, ``FORMAT:PATH#KEY=VALUE``, ``FORMAT:hf://OWNER/NAME@REVISION``, or a path, whose format
            is detected. If a file is named like a path with options, that file is read. Every format has the option
            ``keep=TOKEN+TOKEN``, see ``Trajectory``.

    Raises:
        DataError: If the file cannot be read, or holds no trajectory.
        UnknownNameError: If there is no such format or option.
    """
    parts = parse_spec(spec) if isinstance(spec, str) else spec
    rows = _opened(parts)
    if not rows:
        dropped = "".join(f"; left out by the format: {count} x {why}" for why, count in rows.dropped.items())
        raise DataError(f"{parts} holds no trajectory{dropped}.", "file")
    return rows


def _opened(parts: DataSpec) -> Rows:
    if parts.rest.startswith(HUB):
        reader, hub = FORMATS[parts.source], HubPath.parse(parts.rest)
        if "split" not in signature(reader).parameters:
            message = f"{parts.source} reads files; download them with `hf download --repo-type dataset {hub.id} "
            raise DataError(message + f"--revision {hub.revision} --local-dir FOLDER` and give their path.", "file")
        return _read(reader, hub, parts)
    path = Path(parts.whole).expanduser()
    if path.exists():
        parts = DataSpec(parts.source, parts.whole)
    else:
        path = Path(parts.rest).expanduser()
    return _read(FORMATS[detect(path) if parts.source == AUTO else parts.source], path, parts)


def _read(reader: Callable[..., Rows], path: Path | HubPath, parts: DataSpec) -> Rows:
    """Return the rows of a reader under the options: its own, and those of every format."""
    known = [name for name, one in signature(reader).parameters.items() if one.kind is Parameter.KEYWORD_ONLY]
    for name in parts.options:
        if name not in (*known, *OPTIONS, KEEP):
            raise UnknownNameError(f"option of {parts.source}", name, known=(*known, *OPTIONS, KEEP))
    own = {name: value for name, value in parts.options.items() if name in known}
    tokens = [token for token in parts.options.get(KEEP, "").split("+") if token]
    return reader(path, **own).under(BadRows.of(parts.options), tokens)


def detect(path: Path) -> str:
    """Return the name of the format of a file, by the keys of its first record.

    Raises:
        DataError: If the file is missing or cannot be read, or the keys are those of no format or of several.
    """
    if path.is_dir() and is_store(path):
        return "parquet"
    found = _keys(path)
    if found >= META:
        return "lvr"
    for name, keys in KEYS.items():
        if found >= keys:
            return name
    raise DataError(
        f"{path}: the format cannot be told from the keys {shown(', '.join(sorted(found)) or 'none')}; say "
        "FORMAT:PATH, such as llava:PATH."
    )


def _keys(path: Path) -> set[str]:
    if is_table(path):
        (_, file), *_ = parquet_files(path, split="train")
        try:
            return set(parquet().read_schema(file).names)
        except (OSError, ValueError) as err:
            raise DataError(f"Data file {file} is no readable parquet file ({err}).", "file") from None
    records = JsonRecords(path)
    try:
        return set(records.read(0))
    except DataError as err:
        raise err.at(records.place(0)) from None
