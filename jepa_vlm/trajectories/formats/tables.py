"""Records of parquet files, read by row group; images are columns of ``{"bytes", "path"}``, as the hub stores them."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, final

from jepa_vlm.errors import DataError, missing_extra
from jepa_vlm.trajectories.formats.images import check_image, image_in
from jepa_vlm.trajectories.formats.keys import NOT_LOADED, Keys, may_change_meaning
from jepa_vlm.trajectories.formats.records import Record, Records
from jepa_vlm.trajectories.image import LazyImage

HELD_BYTES = 1 << 28
_HELD: OrderedDict[tuple[Path, int, tuple[str, ...], int], Any] = OrderedDict()  # row groups, the last used at the end

CELL = Keys(("bytes", "path"))  # of ``embedded_image``
Columns = Mapping[str, tuple[str, ...]]
"""Columns by the name that a format uses, each with the spellings that files have for it."""


def parquet() -> Any:
    """Return pyarrow's parquet module.

    Raises:
        JepaVLMError: If pyarrow is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError:
        raise missing_extra("pyarrow", "data", "Reading or writing parquet files") from None
    return pyarrow.parquet


@final
class ParquetRecords(Records):
    """The rows of one parquet file, by column. The last row groups of all files stay in memory, up to ``HELD_BYTES``.

    Args:
        path: The file.
        columns: What is read; other columns stay on disk.
        label: See ``Records``.

    Raises:
        DataError: If the file is missing, is no parquet, or lacks a column.
    """

    def __init__(self, path: Path, columns: Columns, *, label: str = "") -> None:
        super().__init__(label=label or path.stem)
        self.path = path
        file = self._file()
        self._written = path.stat().st_mtime_ns
        self._columns = spelled(file.schema_arrow.names, columns, str(path))
        self._others = not_loaded(file.schema_arrow.names, self._columns)
        groups = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        self._starts: list[int] = [0, *accumulate(groups)]
        self._open: tuple[int, Any] | None = None  # the process that opened the file, and the file

    def __len__(self) -> int:
        return self._starts[-1]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_open": None}

    def place(self, index: int) -> str:
        """Return file and row, from 0."""
        return f"{self.path}[{index}]"

    def read(self, index: int) -> Record:
        """Return a row."""
        group = bisect_right(self._starts, index) - 1
        held = self._group(group).slice(index - self._starts[group], 1)
        try:
            (row,) = held.to_pylist()
        except ValueError as err:  # pyarrow takes any bytes for a text until they are read
            raise DataError(f"a row cannot be read ({err}).", "row") from None
        return {**self._others, **{name: row[spelling] for name, spelling in self._columns.items()}}

    def _group(self, group: int) -> Any:
        key = (self.path, self._written, tuple(self._columns.values()), group)
        if key in _HELD:
            _HELD.move_to_end(key)
            return _HELD[key]
        if self._open is None or self._open[0] != os.getpid():
            self._open = (os.getpid(), self._file())
        try:
            table = self._open[1].read_row_group(group, columns=list(self._columns.values()), use_threads=False)
        except (OSError, ValueError) as err:
            raise DataError(f"row group {group} cannot be read ({err}).", "file") from None
        _HELD[key] = table
        while len(_HELD) > 1 and sum(held.nbytes for held in _HELD.values()) > HELD_BYTES:
            _HELD.popitem(last=False)
        return table

    def _file(self) -> Any:
        module = parquet()
        try:
            return module.ParquetFile(self.path)
        except FileNotFoundError:
            raise DataError(f"Data file {self.path} does not exist; check the path.", "file") from None
        except (OSError, ValueError) as err:  # pyarrow's own errors are ValueErrors
            raise DataError(f"Data file {self.path} is no readable parquet file ({err}).", "file") from None


def spelled(found: Sequence[str], columns: Columns, where: str) -> dict[str, str]:
    """Return the spelling that a table has for each column; a column that may change what a row means is read too.

    Raises:
        DataError: If a column has none.
    """
    chosen = {}
    for name, spellings in columns.items():
        present = [one for one in spellings if one in found]
        if not present:
            names = " or ".join(map(repr, spellings))
            raise DataError(f"{where}: column {names} is missing; there are {', '.join(found) or 'none'}.", "key")
        chosen[name] = present[0]
    return chosen | {name: name for name in found if may_change_meaning(name) and name not in chosen.values()}


def not_loaded(found: Sequence[str], chosen: Mapping[str, str]) -> Record:
    """Return what stands in a record for the columns that stay on disk."""
    return {name: NOT_LOADED for name in found if name not in chosen.values()}


def parquet_files(path: Path, *, split: str) -> list[tuple[str, Path]]:
    """Return (task, file) for a parquet file, or for all of a split below a folder.

    A task is the folder that a file lies in below the root, ``data`` not counted, or else the root's own name. Of a
    folder that holds files named ``SPLIT-...`` only those are taken.

    Raises:
        DataError: If there is none, or one leads outside the folder.
    """
    if not path.is_dir():
        return [(_task(path.parent, path.parent.parent), path)]
    found: list[tuple[str, Path]] = []
    files = sorted(path.rglob("*.parquet"))
    for file in files:
        if not file.resolve().is_relative_to(path.resolve()):
            message = f"{file} leads outside the data root {path}; a hub cache is read as hf://ID@REVISION instead."
            raise DataError(message, "image path")
        beside = [one for one in files if one.parent == file.parent and one.name.startswith(split)]
        if file in beside or not beside:
            found.append((_task(file.parent, path), file))
    if not found:
        raise DataError(f"Folder {path} holds no parquet file; check the path.", "file")
    return found


def _task(folder: Path, root: Path) -> str:
    inside = folder.relative_to(root).parts
    names = [name for name in inside if name != "data"]
    return names[0] if names else root.resolve().name


def embedded_image(cell: object, what: str, *, root: Path | None, origin: str) -> LazyImage:
    """Return the image of a cell ``{"bytes", "path"}``, checked by its header.

    Args:
        cell: The cell.
        what: The column, for messages.
        root: Folder for cells that hold a path and no bytes; None refuses them.
        origin: For messages later on.

    Raises:
        DataError: If the cell is empty, or its image is not what it must be.
    """
    if not isinstance(cell, Mapping):
        raise DataError(f"column {what!r} must hold an image {{bytes, path}}, got {type(cell).__name__}.", "key")
    content, path = cell.get("bytes"), cell.get("path")
    if isinstance(content, bytes) and content:
        return check_image(LazyImage(data=content, origin=origin))
    if isinstance(path, str) and path and root is not None:
        return image_in(root, path, origin=origin)
    raise DataError(f"column {what!r} has no image: its bytes are empty.", "image missing")
