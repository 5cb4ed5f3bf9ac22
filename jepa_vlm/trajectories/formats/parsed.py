"""Rows made of records by a function: what most formats are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import final

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.formats.keys import Keys, unread_keys
from jepa_vlm.trajectories.formats.records import Record, Records
from jepa_vlm.trajectories.rows import Rows
from jepa_vlm.trajectories.trajectory import Trajectory

Parse = Callable[[Record, str, str], Trajectory]
"""From a record, an id for it, and its place (for messages about its images later on) to a trajectory."""


@final
class ParsedRows(Rows):
    """One trajectory for each record.

    Args:
        records: The source.
        parse: Makes a trajectory of a record; a function of a module, or a partial of one, so that rows can be pickled.
        keys: The keys of a record that ``parse`` reads, and those that it knows.
        ids: The records' own ids, where the format has unique ones; else rows are called LABEL-INDEX.
        notes: What each trajectory's ``notes`` begin with.
    """

    def __init__(
        self,
        records: Records,
        parse: Parse,
        keys: Keys,
        ids: Sequence[str] | None = None,
        *,
        notes: Sequence[str] = (),
    ) -> None:
        self._records, self._parse, self._keys = records, parse, keys
        self._ids, self._notes = ids, notes

    def __len__(self) -> int:
        return len(self._records)

    @property
    def dropped(self) -> Mapping[str, int]:
        """What the format left out of its records."""
        return self._records.dropped

    @property
    def ids(self) -> Sequence[str]:
        """The records' own ids, or label and index."""
        return [self._id(i) for i in range(len(self))] if self._ids is None else self._ids

    def place(self, index: int) -> str:
        """Return the record's place."""
        return self._records.place(index)

    def read(self, index: int) -> Trajectory:
        """Parse one record, and hold its calls to their images."""
        place = self.place(index)
        try:
            record = self._records.read(index)
            notes = [*self._notes, *unread_keys(record, self._keys)]
            trajectory = noted(self._parse(record, self._id(index), place), notes)
            check_calls(trajectory)
        except DataError as err:
            raise err.at(place) from None
        return trajectory

    def _id(self, index: int) -> str:
        return f"{self._records.label}-{index}" if self._ids is None else self._ids[index]


def noted(trajectory: Trajectory, notes: Iterable[str]) -> Trajectory:
    """Return a trajectory with further notes, each once."""
    further = tuple(dict.fromkeys(notes))
    return replace(trajectory, notes=(*trajectory.notes, *further)) if further else trajectory


def check_calls(trajectory: Trajectory) -> None:
    """Hold every call to the images that there are when it is made.

    Raises:
        DataError: If a call names an image that is not there yet, or its box reaches beyond its image.
    """
    sizes = [image.size for image in trajectory.images]
    for number, step in enumerate(trajectory.steps, start=1):
        if step.call is not None:
            if not 0 <= step.call.image < len(sizes):
                message = f"step {number} calls for image {step.call.image}, but there are {len(sizes)} before it."
                raise DataError(message, "tool call")
            if step.call.box is not None:
                step.call.box.in_pixels(*sizes[step.call.image])
        if step.image is not None:
            sizes.append(step.image.size)
