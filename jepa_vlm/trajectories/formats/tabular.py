"""Tables of a format, wherever they are: a parquet file, a folder of them, or a data set of the hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jepa_vlm.trajectories.formats.hub import HubPath, HubRecords
from jepa_vlm.trajectories.formats.records import Records
from jepa_vlm.trajectories.formats.tables import Columns, ParquetRecords, parquet_files


def open_tables(path: Path | HubPath, columns: Columns, *, split: str) -> Iterator[tuple[str, Path | None, Records]]:
    """Yield (task, folder of images that are no bytes, records) of each table.

    Raises:
        DataError: If there is none, or one lacks a column.
    """
    if isinstance(path, HubPath):
        task = path.id.partition("/")[2]
        yield task, None, HubRecords(path, columns, split=split, label=f"{task}-{split}")
        return
    for task, file in parquet_files(path, split=split):
        yield task, file.parent, ParquetRecords(file, columns, label=f"{task}-{file.stem}")
