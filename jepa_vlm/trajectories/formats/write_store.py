"""Writes the native store, in one pass and bounded memory."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.formats.native import row_of
from jepa_vlm.trajectories.formats.store import IMAGES, INDEX, ROWS, store_index
from jepa_vlm.trajectories.formats.tables import parquet
from jepa_vlm.trajectories.image import LazyImage
from jepa_vlm.trajectories.row_reader import RowReader
from jepa_vlm.trajectories.rows import Rows
from jepa_vlm.trajectories.trajectory import Trajectory
from jepa_vlm.whole_files import whole

ROW_GROUP, ROW_SHARD = 256, 65_536  # rows
IMAGE_GROUP, IMAGE_SHARD = 1 << 20, 1 << 29  # bytes


@final
@dataclass(frozen=True)
class Written:
    """What a store got.

    Args:
        rows: How many trajectories.
        images: How many images, each counted once.
        repeated: How many further uses of an image there are.
        skipped: By problem: how many bad rows were left out.
        notes: By kind: what readers decided, changed or did not read, on the rows that are kept.
    """

    rows: int
    images: int
    repeated: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)


def write_store(
    rows: Rows,
    path: Path,
    *,
    source: str = "",
    skip_bad: bool = False,
    advance: Callable[[], object] = lambda: None,
) -> Written:
    """Write a store; it appears under its name when it is whole.

    Args:
        rows: What to write.
        path: A new folder.
        source: Where the rows came from, for the record.
        skip_bad: Whether bad rows are left out and counted, however many; else as the policy of their source says.
        advance: Called after every row.

    Raises:
        DataError: If the folder exists, a row is bad (two with one id are) and its source refuses bad rows, or too many
            are.
    """
    if path.exists():
        raise DataError(f"{path} exists; name a new folder, or remove it first.", "file")
    with whole(path) as draft:
        draft.mkdir()
        return _write(rows, draft, source=source, skip_bad=skip_bad, advance=advance)


def _write(rows: Rows, draft: Path, *, source: str, skip_bad: bool, advance: Callable[[], object]) -> Written:
    table = _Shards(draft, ROWS, ("id", "task", "trajectory"), group=ROW_GROUP, shard=ROW_SHARD)
    images = _Images(draft)
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
            table.add((trajectory.id, trajectory.task, values), size=1)
        if not skip_bad:
            reader.finish()
        skipped.update(reader.problems.counts)
        notes.update(reader.notes)
    if not ids:
        raise DataError("No row is left to write: the source is empty, or every row is bad.", "file")
    dropped = Counter(rows.dropped) + skipped
    index = store_index(table.close(), images.close(), source=source, dropped=dropped, notes=notes)
    (draft / INDEX).write_text(index, encoding="utf-8")
    return Written(len(ids), images.count, images.repeated, dict(skipped), dict(notes))


class _Shards:
    """Appends rows to numbered parquet files, in groups of a size that the caller counts."""

    def __init__(self, folder: Path, name: str, columns: tuple[str, ...], *, group: int, shard: int) -> None:
        self._folder, self._name, self._columns, self._group, self._shard = folder, name, columns, group, shard
        self._waiting: list[tuple[Any, ...]] = []
        self._size = self._written = 0
        self._file: Any = None
        self.counts: list[int] = []

    def add(self, row: tuple[Any, ...], *, size: int) -> None:
        """Add a row that counts so much."""
        self._waiting.append(row)
        self._size += size
        if self._size >= self._group:
            self._flush()

    def close(self) -> list[int]:
        """Write what is waiting; return how many rows each shard has."""
        self._flush()
        self._end()
        return self.counts

    def _flush(self) -> None:
        if not self._waiting:
            return
        import pyarrow

        columns = dict(zip(self._columns, zip(*self._waiting, strict=True), strict=True))
        table = pyarrow.table({name: list(values) for name, values in columns.items()})
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


class _Images:
    """Puts each image away once, known by the hash of its bytes."""

    def __init__(self, folder: Path) -> None:
        columns = ("sha256", "width", "height", "bytes")
        self._shards = _Shards(folder, IMAGES, columns, group=IMAGE_GROUP, shard=IMAGE_SHARD)
        self._numbers: dict[bytes, int] = {}
        self.repeated = 0
        self.close = self._shards.close

    @property
    def count(self) -> int:
        return len(self._numbers)

    def save(self, image: LazyImage) -> int | dict[str, Any]:
        """Return the reference to an image, after putting it away if it is new."""
        whole = LazyImage(path=image.path, data=image.data, read=image.read, pixels=image.pixels, origin=image.origin)
        region = image.region if image.resized is None else None
        content = whole.encoded() if image.resized is None else None
        if content is None:
            content = _png(whole if image.resized is None else image)
        key = hashlib.sha256(content).digest()
        if key in self._numbers:
            self.repeated += 1
        else:
            width, height = LazyImage(data=content, origin=image.origin).size
            self._shards.add((key, width, height, content), size=len(content))
            self._numbers[key] = len(self._numbers)
        number = self._numbers[key]
        if region is None:
            return number
        edges = [region.left, region.top, region.right, region.bottom]
        return {"image": number, "region": edges, "relative": region.relative}


def _png(image: LazyImage) -> bytes:
    held = io.BytesIO()
    image.load().save(held, format="PNG")
    return held.getvalue()
