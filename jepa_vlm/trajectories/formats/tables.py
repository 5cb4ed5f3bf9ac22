"""Tables: parquet files, read by row group, and data sets of the hub, which ``datasets`` downloads once as Arrow files.

Images are columns of ``{"bytes", "path"}``, as the hub stores them.
"""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, final

from jepa_vlm.errors import DataError, missing_extra
from jepa_vlm.trajectories.formats.records import NOT_LOADED, Keys, OpenImage, Records, may_change_meaning
from jepa_vlm.trajectories.image import LazyImage
from jepa_vlm.trajectories.json_values import JsonObject

HUB = "hf://"
_PINNED = re.compile(r"(\w[\w.-]*/\w[\w.-]*)@(\w[\w./-]*)")
HELD_BYTES = 1 << 28
# Row groups of all files that are held in memory, the last used at the end.
_HELD: OrderedDict[tuple[Path, int, tuple[str, ...], int], Any] = OrderedDict()

CELL = Keys(("bytes", "path"))  # keys of an image's cell, see ``embedded_image``
Columns = Mapping[str, tuple[str, ...]]
"""Columns by the name that a format uses, each with the spellings that files have for it; empty for all of a file."""


@final
@dataclass(frozen=True)
class HubPath:
    """A data set of the hub at a revision.

    Args:
        id: ``OWNER/NAME``.
        revision: A commit, a tag or a branch.
    """

    id: str
    revision: str

    @classmethod
    def parse(cls, text: str) -> HubPath:
        """Return the data set that ``hf://OWNER/NAME@REVISION`` names.

        Raises:
            DataError: If the revision is missing: a data set may change under its name.
        """
        found = _PINNED.fullmatch(text.removeprefix(HUB))
        if found is None:
            message = f"A data set of the hub is named {HUB}OWNER/NAME@REVISION, best with a commit, got {text!r}."
            raise DataError(message, "file")
        return cls(found[1], found[2])

    def __str__(self) -> str:
        return f"{HUB}{self.id}@{self.revision}"


def open_tables(path: Path | HubPath, columns: Columns, *, split: str) -> Iterator[tuple[str, Path | None, Records]]:
    """Yield (task, folder of the images that are stored as paths, records) of each table.

    Raises:
        DataError: If there is none, or one lacks a column.
    """
    if isinstance(path, HubPath):
        task = path.id.partition("/")[2]
        yield task, None, HubRecords(path, columns, split=split, label=f"{task}-{split}")
        return
    for task, file in parquet_files(path, split=split):
        yield task, file.parent, ParquetRecords(file, columns, label=f"{task}-{file.stem}")


class TableRecords(Records):
    """The rows of a table, without nulls: a table has a null wherever a record lacks a key.

    Args:
        where: The table, for messages.
        found: The columns of the table.
        columns: The columns to read. A column that may change what a row means is read too; others stay on disk.
        label: See ``Records``.

    Raises:
        DataError: If a column is missing.
    """

    def __init__(self, where: str, found: Sequence[str], columns: Columns, *, label: str) -> None:
        super().__init__(label=label)
        self._where = where
        self._columns = _spelled(found, columns, where)
        self._unread = {name: NOT_LOADED for name in found if name not in self._columns.values()}

    def place(self, index: int) -> str:
        """Return table and row, counted from 0."""
        return f"{self._where}[{index}]"

    def read(self, index: int) -> JsonObject:
        """Return a row by the format's names of its columns."""
        row = self._row(index)
        found = {name: _without_nulls(row[own]) for name, own in self._columns.items() if row[own] is not None}
        return self._unread | found

    @abstractmethod
    def _row(self, index: int) -> JsonObject: ...


@final
class HubRecords(TableRecords):
    """The rows of one split of a data set of the hub; images stay encoded.

    Args:
        path: The data set.
        columns: See ``TableRecords``.
        split: The split to read.
        label: See ``Records``.

    Raises:
        DataError: If it cannot be loaded, or lacks a column.
        JepaVLMError: If ``datasets`` is not installed.
    """

    def __init__(self, path: HubPath, columns: Columns, *, split: str, label: str) -> None:
        if Path(path.id).exists():  # datasets would read it instead, whatever the revision
            raise DataError(f"{path.id} is also a folder here; read that by its path, or work elsewhere.", "file")
        try:
            import datasets
        except ImportError:
            raise missing_extra("datasets", "data", "Reading from the hub") from None
        try:
            loaded: Any = datasets.load_dataset(path.id, revision=path.revision, split=split)
        except (OSError, ValueError) as err:
            first = str(err).strip().partition("\n")[0]
            raise DataError(f"{path}, split {split!r}, cannot be loaded: {first}", "file") from None
        super().__init__(str(path), loaded.column_names, columns, label=label)
        self._loaded = loaded.select_columns(list(self._columns.values())).with_format("arrow")  # decodes no image

    def __len__(self) -> int:
        return len(self._loaded)

    def _row(self, index: int) -> JsonObject:
        (row,) = self._loaded[index].to_pylist()
        return row  # type: ignore[no-any-return]


@final
class ParquetRecords(TableRecords):
    """The rows of one parquet file. The last row groups of all files stay in memory, up to ``HELD_BYTES``.

    Args:
        path: The file.
        columns: See ``TableRecords``.
        label: See ``Records``; the file's name if it is "".

    Raises:
        DataError: If the file is missing, is no parquet, or lacks a column.
    """

    def __init__(self, path: Path, columns: Columns, *, label: str = "") -> None:
        self.path = path
        file = self._file()
        super().__init__(str(path), file.schema_arrow.names, columns, label=label or path.stem)
        self._written = path.stat().st_mtime_ns
        groups = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        self._starts: list[int] = [0, *accumulate(groups)]
        self._open: tuple[int, Any] | None = None  # the process that opened the file, and the file

    def __len__(self) -> int:
        return self._starts[-1]

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_open": None}

    def _row(self, index: int) -> JsonObject:
        group = bisect_right(self._starts, index) - 1
        held = self._group(group).slice(index - self._starts[group], 1)
        try:
            (row,) = held.to_pylist()
        except ValueError as err:  # pyarrow takes any bytes for a text until they are read
            raise DataError(f"a row cannot be read ({err}).", "row") from None
        return row  # type: ignore[no-any-return]

    def _group(self, group: int) -> Any:
        columns = list(self._columns.values())
        key = (self.path, self._written, tuple(columns), group)
        if key in _HELD:
            _HELD.move_to_end(key)
            return _HELD[key]
        if self._open is None or self._open[0] != os.getpid():
            self._open = (os.getpid(), self._file())
        try:
            table = self._open[1].read_row_group(group, columns=columns, use_threads=False)
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


def _spelled(found: Sequence[str], columns: Columns, where: str) -> dict[str, str]:
    """Return the table's own name of each column that is read."""
    if not columns:
        return {name: name for name in found}
    chosen = {}
    for name, spellings in columns.items():
        present = [one for one in spellings if one in found]
        if not present:
            names = " or ".join(map(repr, spellings))
            raise DataError(f"{where}: column {names} is missing; there are {', '.join(found) or 'none'}.", "key")
        chosen[name] = present[0]
    return chosen | {name: name for name in found if may_change_meaning(name) and name not in chosen.values()}


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


def is_table(path: Path) -> bool:
    """Return whether a path is a parquet file, by its name or first bytes, or a folder, which may hold some."""
    if path.is_dir() or path.suffix.lower() == ".parquet":
        return True
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PAR1"
    except OSError:
        return False


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
    names = [name for name in folder.relative_to(root).parts if name != "data"]
    return names[0] if names else root.resolve().name


def embedded_image(cell: object, what: str, image: OpenImage) -> LazyImage:
    """Return the image of a cell, ``{"bytes", "path"}`` or a path, checked by its header.

    Args:
        cell: The cell.
        what: The column, for messages.
        image: Opens the image of a reference.

    Raises:
        DataError: If the cell is empty, or its image cannot be used.
    """
    if not isinstance(cell, str | Mapping):
        raise DataError(f"column {what!r} must hold an image {{bytes, path}}, got {type(cell).__name__}.", "key")
    try:
        return image(cell)
    except DataError as err:
        raise err.at(f"column {what!r}") from None
