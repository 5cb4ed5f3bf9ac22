"""Data sets of the hub, read through ``datasets``: downloaded once as Arrow files, which are read anywhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from jepa_vlm.errors import DataError, missing_extra
from jepa_vlm.trajectories.formats.records import Record, Records
from jepa_vlm.trajectories.formats.tables import Columns, not_loaded, spelled

PREFIX = "hf://"
_PINNED = re.compile(r"(\w[\w.-]*/\w[\w.-]*)@(\w[\w./-]*)")


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
        """Return what ``hf://OWNER/NAME@REVISION`` means.

        Raises:
            DataError: If the revision is missing: a data set may change under its name.
        """
        found = _PINNED.fullmatch(text.removeprefix(PREFIX))
        if found is None:
            message = f"A data set of the hub is named {PREFIX}OWNER/NAME@REVISION, best with a commit, got {text!r}."
            raise DataError(message, "file")
        return cls(found[1], found[2])

    def __str__(self) -> str:
        return f"{PREFIX}{self.id}@{self.revision}"


@final
class HubRecords(Records):
    """The rows of one split; images stay encoded.

    Args:
        path: The data set.
        columns: What is read.
        split: Which split.
        label: See ``Records``.

    Raises:
        DataError: If it cannot be loaded, or lacks a column.
        JepaVLMError: If ``datasets`` is not installed.
    """

    def __init__(self, path: HubPath, columns: Columns, *, split: str, label: str) -> None:
        super().__init__(label=label)
        self.path = path
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
        self._columns = spelled(loaded.column_names, columns, str(path))
        self._others = not_loaded(loaded.column_names, self._columns)
        loaded = loaded.select_columns(list(self._columns.values()))
        for name, kind in loaded.features.items():
            if isinstance(kind, datasets.Image):
                loaded = loaded.cast_column(name, datasets.Image(decode=False))
        self._loaded = loaded

    def __len__(self) -> int:
        return len(self._loaded)

    def place(self, index: int) -> str:
        """Return id, revision and row, from 0."""
        return f"{self.path}[{index}]"

    def read(self, index: int) -> Record:
        """Return a row."""
        row = self._loaded[index]
        return {**self._others, **{name: row[spelling] for name, spelling in self._columns.items()}}


def no_hub(format_name: str, path: HubPath) -> DataError:
    """Return the error for a format whose data sets are no tables."""
    return DataError(
        f"{format_name} reads files; download them with `hf download --repo-type dataset {path.id} --revision "
        f"{path.revision} --local-dir FOLDER` and give their path.",
        "file",
    )
