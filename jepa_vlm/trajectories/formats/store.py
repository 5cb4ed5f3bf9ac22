"""The native store: a folder of parquet shards that holds every image once, as the bytes that it was downloaded as.

``store.json``          {"version": 1, "rows": rows of each shard, "images": images of each shard, "source", "dropped"}
``rows-00000.parquet``   id, task, trajectory: the JSON values of ``jsonl``, an image being its number, counted over all
                        shards, or {"image": number, "region": [left, top, right, bottom], "relative"} for a part of it
``images-00000.parquet`` sha256, width, height (as viewers show it), bytes

Row groups are small, so that reading a row anywhere costs about as much as its images, and few are held in memory.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, final

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.box import Box
from jepa_vlm.trajectories.formats.fields import checked, field, four_numbers, shown
from jepa_vlm.trajectories.formats.keys import unread_keys
from jepa_vlm.trajectories.formats.native import KEYS, trajectory_of
from jepa_vlm.trajectories.formats.parsed import check_calls, noted
from jepa_vlm.trajectories.formats.reader import FORMATS
from jepa_vlm.trajectories.formats.records import parse_object
from jepa_vlm.trajectories.formats.tables import ParquetRecords, parquet
from jepa_vlm.trajectories.image import LazyImage
from jepa_vlm.trajectories.rows import Rows
from jepa_vlm.trajectories.trajectory import Trajectory

VERSION = 1
INDEX = "store.json"
ROWS, IMAGES = "rows-{:05d}.parquet", "images-{:05d}.parquet"


@FORMATS.register("parquet")
def read_store(path: Path) -> Rows:
    """Return the rows of a store that ``data convert`` wrote.

    Raises:
        DataError: If the folder is no store, or of another version.
    """
    return StoreRows(path)


@final
class StoreRows(Rows):
    """The rows of a store.

    Args:
        path: Its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            index = parse_object((path / INDEX).read_bytes())
            if index.get("version") != VERSION:
                raise DataError(f"the store has version {shown(index.get('version'))}; this reads {VERSION}.", "file")
            self._row_starts = _starts(index, "rows")
            self._image_starts = _starts(index, "images")
            self._dropped = field(index, "dropped", dict, {})
        except OSError:
            raise DataError(f"{path} is no store: it has no {INDEX}; write one with `data convert`.", "file") from None
        except DataError as err:
            raise err.at(str(path / INDEX)) from None
        self._ids: list[str] | None = None
        self._sizes: dict[int, Any] = {}
        self._shards: dict[str, ParquetRecords] = {}

    def __len__(self) -> int:
        return self._row_starts[-1]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_sizes": {}, "_shards": {}, "_ids": None}

    @property
    def dropped(self) -> Mapping[str, int]:
        """What was left out when the store was written."""
        return self._dropped

    @property
    def ids(self) -> Sequence[str]:
        """The ids, read once."""
        if self._ids is None:
            self._ids = [name for shard in range(len(self._row_starts) - 1) for name in self._column(ROWS, shard, "id")]
        return self._ids

    def place(self, index: int) -> str:
        """Return shard and row in it."""
        shard, own = _find(self._row_starts, index)
        return f"{self.path / ROWS.format(shard)}[{own}]"

    def read(self, index: int) -> Trajectory:
        """Read one row; its images stay in the store until they are loaded."""
        shard, own = _find(self._row_starts, index)
        place = self.place(index)
        try:
            row = self._shard(ROWS, shard, ("id", "trajectory")).read(own)
            values = parse_object(field(row, "trajectory", str).encode())
            notes = tuple(unread_keys(values, KEYS))
            trajectory = trajectory_of(values, field(row, "id", str), partial(self._image, origin=place))
            trajectory = noted(trajectory, notes)
            check_calls(trajectory)
        except DataError as err:
            raise err.at(place) from None
        return trajectory

    def image_bytes(self, number: int) -> bytes:
        """Return an image as it is stored."""
        shard, own = _find(self._image_starts, number)
        return checked(self._shard(IMAGES, shard, ("bytes",)).read(own)["bytes"], bytes, f"image {number}")

    def _image(self, reference: object, *, origin: str) -> LazyImage:
        region = None
        if isinstance(reference, dict):
            edges = four_numbers(reference.get("region"), "key 'region'")
            region = Box(*edges, relative=field(reference, "relative", bool))
            reference = reference.get("image")
        number = checked(reference, int, "an image's number")
        if not 0 <= number < self._image_starts[-1]:
            raise DataError(f"image {number} is not among the store's {self._image_starts[-1]}.", "image missing")
        width, height, sha256 = self._stated(number)
        read = partial(self.image_bytes, number)
        return LazyImage(read=read, known=(int(width), int(height)), sha256=sha256, region=region, origin=origin)

    def _stated(self, number: int) -> tuple[int, int, bytes]:
        shard, own = _find(self._image_starts, number)
        if shard not in self._sizes:
            self._sizes[shard] = [self._column(IMAGES, shard, name) for name in ("width", "height", "sha256")]
        width, height, sha256 = self._sizes[shard]
        return width[own], height[own], sha256[own]

    def _column(self, name: str, shard: int, column: str) -> Any:
        path = self.path / name.format(shard)
        try:
            values = parquet().read_table(path, columns=[column], use_threads=False)[column]
        except (OSError, ValueError, KeyError) as err:
            raise DataError(f"{path} cannot be read ({err}).", "file") from None
        self._check_count(name, shard, len(values))
        return values.to_numpy() if column in ("width", "height") else values.to_pylist()

    def _shard(self, name: str, shard: int, columns: tuple[str, ...]) -> ParquetRecords:
        file = name.format(shard)
        if file not in self._shards:
            records = ParquetRecords(self.path / file, {column: (column,) for column in columns})
            self._check_count(name, shard, len(records))
            self._shards[file] = records
        return self._shards[file]

    def _check_count(self, name: str, shard: int, found: int) -> None:
        starts = self._row_starts if name == ROWS else self._image_starts
        if found != (stated := starts[shard + 1] - starts[shard]):
            path = self.path / name.format(shard)
            raise DataError(f"{path} has {found} rows, but {INDEX} says {stated}; write the store anew.", "file")


def _starts(index: Mapping[str, Any], key: str) -> list[int]:
    counts = [checked(count, int, f"an entry of key {key!r}") for count in field(index, key, list)]
    return [0, *accumulate(counts)]


def _find(starts: Sequence[int], index: int) -> tuple[int, int]:
    shard = bisect_right(starts, index) - 1
    return shard, index - starts[shard]


def is_store(path: Path) -> bool:
    """Say whether a folder is a store."""
    return (path / INDEX).is_file()


def store_index(rows: Sequence[int], images: Sequence[int], *, source: str, dropped: Mapping[str, int]) -> str:
    """Return the text of ``store.json``."""
    index = {"version": VERSION, "rows": rows, "images": images, "source": source, "dropped": dict(dropped)}
    return json.dumps(index, indent=1) + "\n"
