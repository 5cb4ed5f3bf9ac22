"""The native store: a folder of parquet shards that holds every image once, as the bytes that it was downloaded as.

``store.json``          {"version": 1, "rows": rows of each shard, "images": images of each shard, "source",
                        "dropped" and "notes": what was left out, decided and changed when it was written, by kind}
``rows-00000.parquet``   id, task, trajectory: the JSON values of ``jsonl``. A reference to an image is its number,
                        counted over all shards, or {"image": number, "region": [left, top, right, bottom],
                        "relative"} for a part of it
``images-00000.parquet`` sha256, width, height (as viewers show it), bytes

Row groups are small, so that reading any row costs about as much as its images, and few are held in memory.
"""

from __future__ import annotations

import hashlib
import io
import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, final

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.box import Box, four_numbers
from jepa_vlm.trajectories.formats.jsonl import KEYS, row_of, trajectory_of
from jepa_vlm.trajectories.formats.records import FORMATS, ParsedRows, Records
from jepa_vlm.trajectories.formats.tables import ParquetRecords, parquet
from jepa_vlm.trajectories.image import LazyImage
from jepa_vlm.trajectories.json_values import JsonObject, checked, field, parse_object, shown
from jepa_vlm.trajectories.rows import RowReader, Rows
from jepa_vlm.trajectories.trajectory import Trajectory
from jepa_vlm.whole_files import whole

VERSION = 1
INDEX = "store.json"
ROWS, IMAGES = "rows-{:05d}.parquet", "images-{:05d}.parquet"
ROW_GROUP, ROW_SHARD = 256, 65_536  # rows
IMAGE_GROUP, IMAGE_SHARD = 1 << 20, 1 << 29  # bytes


@FORMATS.register("parquet")
def read_store(path: Path) -> Rows:
    """Return the rows of a store that ``data convert`` wrote.

    Args:
        path: Its folder.

    Raises:
        DataError: If the folder is no store, or of another version.
    """
    records = StoreRecords(path)
    return ParsedRows(records, trajectory_of, KEYS, records.image)


def is_store(path: Path) -> bool:
    """Return whether a folder is a store."""
    return (path / INDEX).is_file()


@final
class StoreRecords(Records):
    """The rows of a store, and its images.

    Args:
        path: Its folder.

    Raises:
        DataError: If the folder is no store, or of another version.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(label=path.name)
        try:
            index = parse_object((path / INDEX).read_bytes())
            if index.get("version") != VERSION:
                raise DataError(f"the store has version {shown(index.get('version'))}; this reads {VERSION}.", "file")
            self._rows = _Table(path, ROWS, _counts(index, "rows"))
            self._images = _Table(path, IMAGES, _counts(index, "images"))
            self.dropped = field(index, "dropped", dict, {})
        except OSError:
            raise DataError(f"{path} is no store: it has no {INDEX}; write one with `data convert`.", "file") from None
        except DataError as err:
            raise err.at(str(path / INDEX)) from None

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def ids(self) -> Sequence[str]:
        """The ids, read once."""
        return self._rows.column("id")

    def place(self, index: int) -> str:
        """Return shard and row in it."""
        return self._rows.place(index)

    def read(self, index: int) -> JsonObject:
        """Return the JSON values of a trajectory."""
        row = self._rows.read(index, "id", "trajectory")
        values = parse_object(field(row, "trajectory", str).encode())
        return {**values, "id": field(row, "id", str)}

    def image_bytes(self, number: int) -> bytes:
        """Return an image as it is stored."""
        return checked(self._images.read(number, "bytes")["bytes"], bytes, f"image {number}")

    def image(self, reference: object, *, origin: str) -> LazyImage:
        """Return the image that a row refers to; it stays in the store until it is loaded."""
        region = None
        if isinstance(reference, dict):
            edges = four_numbers(reference.get("region"), "key 'region'")
            region = Box(*edges, relative=field(reference, "relative", bool))
            reference = reference.get("image")
        number = checked(reference, int, "an image's number")
        if not 0 <= number < len(self._images):
            raise DataError(f"image {number} is not among the store's {len(self._images)}.", "image missing")
        width, height, sha256 = (self._images.value(name, number) for name in ("width", "height", "sha256"))
        read = partial(self.image_bytes, number)
        return LazyImage(read=read, known=(int(width), int(height)), sha256=sha256, region=region, origin=origin)


def _counts(index: JsonObject, key: str) -> list[int]:
    return [checked(count, int, f"an entry of key {key!r}") for count in field(index, key, list)]


class _Table:
    """Numbered parquet files, read as one table.

    Args:
        folder: Their folder.
        name: Their names, as a format string of the number.
        counts: The number of rows of each, as the store's index states.
    """

    def __init__(self, folder: Path, name: str, counts: Sequence[int]) -> None:
        self._folder, self._name, self._starts = folder, name, [0, *accumulate(counts)]
        self._shards: dict[tuple[int, tuple[str, ...]], ParquetRecords] = {}
        self._columns: dict[tuple[int, str], Any] = {}

    def __len__(self) -> int:
        return self._starts[-1]

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_shards": {}, "_columns": {}}

    def place(self, index: int) -> str:
        """Return file and row in it."""
        shard, own = self._find(index)
        return f"{self._path(shard)}[{own}]"

    def read(self, index: int, *columns: str) -> JsonObject:
        """Return some columns of a row, without its nulls."""
        shard, own = self._find(index)
        if (shard, columns) not in self._shards:
            records = ParquetRecords(self._path(shard), {column: (column,) for column in columns})
            self._check_count(shard, len(records))
            self._shards[shard, columns] = records
        return self._shards[shard, columns].read(own)

    def value(self, column: str, index: int) -> Any:
        """Return a value of a column that is held in memory from its first use on."""
        shard, own = self._find(index)
        return self._held(column, shard)[own]

    def column(self, column: str) -> list[Any]:
        """Return a whole column, which is held in memory from its first use on."""
        return [value for shard in range(len(self._starts) - 1) for value in self._held(column, shard)]

    def _held(self, column: str, shard: int) -> Any:
        if (shard, column) not in self._columns:
            path = self._path(shard)
            try:
                values = parquet().read_table(path, columns=[column], use_threads=False)[column]
            except (OSError, ValueError, KeyError) as err:
                raise DataError(f"{path} cannot be read ({err}).", "file") from None
            self._check_count(shard, len(values))
            numbers = column in ("width", "height")
            self._columns[shard, column] = values.to_numpy() if numbers else values.to_pylist()
        return self._columns[shard, column]

    def _find(self, index: int) -> tuple[int, int]:
        shard = bisect_right(self._starts, index) - 1
        return shard, index - self._starts[shard]

    def _path(self, shard: int) -> Path:
        return self._folder / self._name.format(shard)

    def _check_count(self, shard: int, found: int) -> None:
        if found != (stated := self._starts[shard + 1] - self._starts[shard]):
            path = self._path(shard)
            raise DataError(f"{path} has {found} rows, but {INDEX} says {stated}; write the store anew.", "file")


@final
@dataclass(frozen=True)
class WrittenStore:
    """Counts of a store that was written.

    Args:
        rows: Number of trajectories.
        images: Number of images, each counted once.
        repeated: Number of further uses of an image.
        skipped: Number of bad rows that were left out, by kind of problem.
        notes: Number of rows by what readers decided, changed or did not read in them.
    """

    rows: int
    images: int
    repeated: int
    skipped: Mapping[str, int]
    notes: Mapping[str, int]


def write_store(
    rows: Rows,
    path: Path,
    *,
    source: str = "",
    skip_bad: bool = False,
    advance: Callable[[], object] = lambda: None,
) -> WrittenStore:
    """Write a store. It gets its name when it is complete.

    Args:
        rows: The rows to write.
        path: A new folder.
        source: The origin of the rows, to be stored with them.
        skip_bad: Whether bad rows are left out and counted, however many; else the policy of their source holds.
        advance: Called after every row.

    Raises:
        DataError: If the folder exists, a row is bad (as is a second row of one id) and its source refuses bad rows, or
            too many are bad.
    """
    if path.exists():
        raise DataError(f"{path} exists; name a new folder, or remove it first.", "file")
    with whole(path) as draft:
        draft.mkdir()
        return _write(rows, draft, source=source, skip_bad=skip_bad, advance=advance)


def _write(rows: Rows, draft: Path, *, source: str, skip_bad: bool, advance: Callable[[], object]) -> WrittenStore:
    table = _Shards(draft, ROWS, group=ROW_GROUP, shard=ROW_SHARD)
    images = _ImageShards(draft)
    ids: set[str] = set()
    skipped, notes = Counter[str](), Counter[str]()

    def saved(trajectory: Trajectory) -> str:
        if trajectory.id in ids:
            taken = f"id {trajectory.id!r} is taken by an earlier row"
            raise DataError(f"{taken}; convert sources of one name one by one, or rename a file.", "id")
        return json.dumps(row_of(trajectory, images.save), ensure_ascii=False)

    for part in rows.sources:
        reader = RowReader(part.bad.without_limit() if skip_bad else part.bad)
        for _, trajectory, values in reader.read(part, saved, advance=advance):
            ids.add(trajectory.id)
            table.add({"id": trajectory.id, "task": trajectory.task, "trajectory": values}, size=1)
        if not skip_bad:
            reader.finish()
        skipped.update(reader.problems.counts)
        notes.update(reader.notes)
    if not ids:
        raise DataError("No row is left to write: the source is empty, or every row is bad.", "file")
    dropped = Counter(rows.dropped) + skipped
    index = {"version": VERSION, "rows": table.close(), "images": images.close(), "source": source}
    index |= {"dropped": dict(dropped), "notes": dict(notes)}
    (draft / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    return WrittenStore(len(ids), images.count, images.repeated, dict(skipped), dict(notes))


class _Shards:
    """Appends rows to numbered parquet files, in groups and files of about the given sizes."""

    def __init__(self, folder: Path, name: str, *, group: int, shard: int) -> None:
        self._folder, self._name, self._group, self._shard = folder, name, group, shard
        self._waiting: list[JsonObject] = []
        self._size = self._written = 0
        self._file: Any = None
        self.counts: list[int] = []

    def add(self, row: JsonObject, *, size: int) -> None:
        """Add a row of some size."""
        self._waiting.append(row)
        self._size += size
        if self._size >= self._group:
            self._flush()

    def close(self) -> list[int]:
        """Write the waiting rows; return the number of rows of each shard."""
        self._flush()
        self._end()
        return self.counts

    def _flush(self) -> None:
        if not self._waiting:
            return
        import pyarrow

        table = pyarrow.Table.from_pylist(self._waiting)
        if self._file is None:
            path = self._folder / self._name.format(len(self.counts))
            self._file = parquet().ParquetWriter(path, table.schema, compression="zstd", use_dictionary=False)
            self.counts.append(0)
        self._file.write_table(table, row_group_size=len(self._waiting))
        self.counts[-1] += len(self._waiting)
        self._written += self._size
        self._waiting, self._size = [], 0
        if self._written >= self._shard:
            self._end()

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._written = None, 0


class _ImageShards:
    """Stores each image once, by the hash of its bytes."""

    def __init__(self, folder: Path) -> None:
        self._shards = _Shards(folder, IMAGES, group=IMAGE_GROUP, shard=IMAGE_SHARD)
        self._numbers: dict[bytes, int] = {}
        self.repeated = 0
        self.close = self._shards.close

    @property
    def count(self) -> int:
        return len(self._numbers)

    def save(self, image: LazyImage) -> int | dict[str, object]:
        """Return the reference to an image, which is stored if it is new."""
        region = image.region
        if image.resized is not None:
            region, content = None, _png(image)
        else:
            content = image.encoded() or _png(replace(image, region=None))
        key = hashlib.sha256(content).digest()
        if key in self._numbers:
            self.repeated += 1
        else:
            width, height = LazyImage(data=content, origin=image.origin).size
            row = {"sha256": key, "width": width, "height": height, "bytes": content}
            self._shards.add(row, size=len(content))
            self._numbers[key] = len(self._numbers)
        number = self._numbers[key]
        if region is None:
            return number
        return {"image": number, "region": list(region.edges), "relative": region.relative}


def _png(image: LazyImage) -> bytes:
    held = io.BytesIO()
    image.load().save(held, format="PNG")
    return held.getvalue()
