"""Rows made of records by a function: what most formats are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import final

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.bad_rows import BadRows
from jepa_vlm.trajectories.box import Box
from jepa_vlm.trajectories.formats.keys import Keys, unread_keys
from jepa_vlm.trajectories.formats.records import Record, Records
from jepa_vlm.trajectories.image import LazyImage
from jepa_vlm.trajectories.rows import Rows
from jepa_vlm.trajectories.trajectory import Trajectory

THINNEST = 200  # times as long as wide: beyond it, Qwen's and GLM's processors refuse a picture
WIDENED = "thin crop widened"

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
            return settled(noted(self._parse(record, self._id(index), place), notes), self.bad)
        except DataError as err:
            raise err.at(place) from None

    def _id(self, index: int) -> str:
        return f"{self._records.label}-{index}" if self._ids is None else self._ids[index]


def noted(trajectory: Trajectory, notes: Iterable[str]) -> Trajectory:
    """Return a trajectory with further notes, each once."""
    further = tuple(dict.fromkeys(notes))
    return replace(trajectory, notes=(*trajectory.notes, *further)) if further else trajectory


def settled(trajectory: Trajectory, bad: BadRows) -> Trajectory:
    """Return a trajectory whose boxes and crops are as its source's policy has them, with a note on every change.

    Raises:
        DataError: If a call names an image that is not there yet, or its box reaches beyond its image.
    """
    notes, steps = [*trajectory.notes], []
    sizes = [image.size for image in trajectory.images]
    for number, step in enumerate(trajectory.steps, start=1):
        if step.call is not None:
            if not 0 <= step.call.image < len(sizes):
                message = f"step {number} calls for image {step.call.image}, but there are {len(sizes)} before it."
                raise DataError(message, "tool call")
            if (box := step.call.box) is not None:
                if box.refusal and bad.policy != "clamp":
                    raise DataError(box.refusal, "box")
                box.in_pixels(*sizes[step.call.image])
                notes += box.notes
        wide = _widened(step.image) if bad.policy == "clamp" and step.image is not None else None
        if wide is not None:
            notes.append(WIDENED)
            step = replace(step, image=wide)
        if step.image is not None:
            sizes.append(step.image.size)
        steps.append(step)
    return replace(trajectory, steps=tuple(steps), notes=tuple(notes)) if notes else trajectory


def _widened(image: LazyImage) -> LazyImage | None:
    """Return an image whose crop is too thin with more of its picture around it; None if it needs or has none.

    The call's box stays: the tool shows a little more than was asked for.
    """
    if image.region is None:
        return None
    whole = replace(image, region=None).size
    left, top, right, bottom = image.region.in_pixels(*whole)
    least = math.ceil(max(right - left, bottom - top) / THINNEST)
    left, right = _at_least(least, left, right, whole[0])
    top, bottom = _at_least(least, top, bottom, whole[1])
    wide = Box(left, top, right, bottom, relative=False)
    return None if wide.edges == image.region.in_pixels(*whole) else replace(image, region=wide)


def _at_least(least: int, low: int, high: int, end: int) -> tuple[int, int]:
    """Return a stretch made at least so long, both ways alike, as far as there is room from 0 to ``end``."""
    missing = max(0, least - (high - low))
    low = max(0, min(low - missing // 2, end - least))
    return low, min(end, max(high, low + least))
