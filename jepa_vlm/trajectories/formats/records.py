"""What a format consists of: its records, the keys that it reads of them, and a function that makes trajectories.

A key that a format does not know is listed, with the number of rows that have it, by ``data check`` and at the start of
a run. A key that changes what is trained, and that the format does not read, is refused.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import final

from jepa_vlm.errors import DataError
from jepa_vlm.registry import Registry
from jepa_vlm.trajectories.bad_rows import BadRows
from jepa_vlm.trajectories.box import Box
from jepa_vlm.trajectories.image import LazyImage
from jepa_vlm.trajectories.json_values import JsonObject, parse_json, shown
from jepa_vlm.trajectories.json_values import field as value_of
from jepa_vlm.trajectories.rows import Rows
from jepa_vlm.trajectories.trajectory import Trajectory

NOT_LOADED = "a column that is not read"  # stands for its values
TRAINED = ("assistant", "gpt")  # values of "role" or "from" whose turns are trained
THINNEST = 200  # times as long as wide: beyond it, Qwen's and GLM's processors refuse a picture
WIDENED = "thin crop widened"

# A format is a function from a path to rows. Its keyword-only parameters, texts with defaults, are the options that may
# follow a ``#``.
FORMATS: Registry[Callable[..., Rows]] = Registry(
    "data format", hint="A new format is one file in jepa_vlm/trajectories/formats/."
)


OpenImage = Callable[..., LazyImage]
"""Returns the image of a reference, checked by its header; see ``ImageRoots.image``."""


class Records(ABC):
    """The records of a source, found once and parsed one at a time.

    Args:
        label: Short name of the source, used in the ids of rows.

    Attributes:
        dropped: How many records were left out, by reason.
    """

    def __init__(self, *, label: str) -> None:
        self.label = label
        self.dropped: Mapping[str, int] = {}
        self._own_ids: list[str] = []
        self._repeated: dict[int, int] = {}  # a record whose id an earlier one has, and the first such record

    @property
    def ids(self) -> Sequence[str]:
        """The id of every record: LABEL-INDEX, or its own after ``use_own_ids``."""
        return self._own_ids or [f"{self.label}-{i}" for i in range(len(self))]

    def id(self, index: int) -> str:
        """Return the id of a record.

        Raises:
            DataError: If an earlier record has it.
        """
        name = self._own_ids[index] if self._own_ids else f"{self.label}-{index}"
        if index in self._repeated:
            taken = self.place(self._repeated[index])
            raise DataError(f"id {shown(name)} is taken by {taken}; ids must be unique.", "id")
        return name

    def use_own_ids(self) -> None:
        """Read the key ``id`` of every record, and use it as the record's id."""
        first: dict[str, int] = {}
        for index in range(len(self)):
            try:
                name = value_of(self.read(index), "id", str)
            except DataError:  # raised again when the row is read
                name = f"{self.label}-{index}"
            self._own_ids.append(name)
            if first.setdefault(name, index) != index:
                self._repeated[index] = first[name]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def place(self, index: int) -> str:
        """Return file and position of a record, for messages."""

    @abstractmethod
    def read(self, index: int) -> JsonObject:
        """Return a record.

        Raises:
            DataError: If it cannot be parsed; the message does not name the place.
        """


@final
@dataclass(frozen=True)
class Keys:
    """The keys of one kind of object in a format's records.

    Args:
        read: Keys that the format reads.
        inside: Keys whose values are objects, or lists that hold objects, with the keys of these.
        labels: Keys of the format that say nothing about what is trained.
        json_text: Whether the object may also stand as JSON text.
    """

    read: tuple[str, ...] = ()
    inside: Mapping[str, Keys] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    json_text: bool = False


def _says_something(value: object, _: JsonObject) -> bool:
    """Return whether a value is not empty, however deep it is nested."""
    if isinstance(value, dict | list):
        return any(_says_something(one, {}) for one in (value.values() if isinstance(value, dict) else value))
    return value not in (None, False, "")


def _weighs(value: object, turn: JsonObject) -> bool:
    """Return whether a weight differs from 1, if its turn is trained."""
    return value != 1 and turn.get("role", turn.get("from", TRAINED[0])) in TRAINED


def _is_false(value: object, _: JsonObject) -> bool:
    return value is False


def _is_object(value: object, _: JsonObject) -> bool:
    return isinstance(value, dict)


# Patterns of keys, when their values change the meaning of a row, and what the user can do.
MEANINGS: tuple[tuple[tuple[str, ...], Callable[[object, JsonObject], bool], str], ...] = (
    (("video", "videos", "audio", "audios", "input_audio"), _says_something, "only pictures are read; drop the row"),
    (
        ("tools", "functions"),
        _says_something,
        "write the tools into the system prompt as the chat template would, and take the key out",
    ),
    (("function_call",), _says_something, "write the call as tool_calls"),
    (
        ("reasoning", "reasoning_content", "thinking"),
        _says_something,
        "write the reasoning into the text itself, as <think>...</think> ahead of the answer, and take the key out",
    ),
    (
        ("weight", "loss*", "train", "trainable"),
        _weighs,
        "every answer is trained, with weight 1; drop the row, or cut the chat before the answer",
    ),
    (
        ("rejected*", "chosen*"),
        _says_something,
        "a preference pair is no trajectory; take both answers' keys out, and keep the good one as the row's answer",
    ),
    (("label",), _is_false, "it marks an answer that is not to be learned; drop the row"),
    (("system", "system_prompt"), _says_something, "write it as a message of role system, in messages"),
    (("history",), _says_something, "a trajectory has one question; drop the row"),
    (("objects",), _says_something, "write the boxes into the texts, and take the key out"),
    (("source",), _is_object, "write the picture as a path or as a data URI"),
    (("base64",), _says_something, "write the picture as a path or as a data URI"),
)


def unread_keys(row: JsonObject, keys: Keys, at: str = "") -> Iterator[str]:
    """Yield a note on each key that is not read, by its path: ``messages[].name``. A key with null is passed over.

    Args:
        row: A record, or an object inside one.
        keys: The keys that the format knows.
        at: Path of the object.

    Raises:
        DataError: If such a key changes what the row means.
    """
    for key, value in row.items():
        if value is None or key in keys.read or key in keys.labels:
            continue
        if key in keys.inside:
            yield from _inside(value, keys.inside[key], f"{at}{key}")
            continue
        for patterns, changes, advice in MEANINGS:
            if any(fnmatchcase(key, one) for one in patterns) and changes(value, row):
                message = f"key {at + key!r} changes what the row means, and is not read: {advice}."
                raise DataError(message, "meaning")
        yield f"never read: key {at + key!r}"


def may_change_meaning(key: str) -> bool:
    """Return whether some value of a key would be refused, so that its values must be read."""
    return any(fnmatchcase(key, pattern) for patterns, _, _ in MEANINGS for pattern in patterns)


def _inside(value: object, keys: Keys, path: str) -> Iterator[str]:
    if keys.json_text and isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError:
            return  # the format refuses it when it reads the row
    if isinstance(value, dict):
        yield from unread_keys(value, keys, f"{path}.")
    for one in value if isinstance(value, list) else []:
        if isinstance(one, dict):
            yield from unread_keys(one, keys, f"{path}[].")


@final
class ParsedRows(Rows):
    """One trajectory for each record.

    Args:
        records: The source.
        parse: Makes a trajectory of a record, an id for it, and a function that opens the image of a reference. It must
            be a function of a module, or a partial of one, so that rows can be pickled.
        keys: The keys of a record that ``parse`` reads, and its labels.
        image: Opens the image of a reference; ``origin`` is the record's place, for later messages about the image.
        notes: Notes that every trajectory gets.
    """

    def __init__(
        self,
        records: Records,
        parse: Callable[[JsonObject, str, OpenImage], Trajectory],
        keys: Keys,
        image: OpenImage,
        *,
        notes: Sequence[str] = (),
    ) -> None:
        self._records, self._parse, self._keys, self._image = records, parse, keys, image
        self._notes = tuple(notes)

    def __len__(self) -> int:
        return len(self._records)

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many records the format left out, by reason."""
        return self._records.dropped

    @property
    def ids(self) -> Sequence[str]:
        """The records' own ids, or label and index."""
        return self._records.ids

    def place(self, index: int) -> str:
        """Return the record's place."""
        return self._records.place(index)

    def read(self, index: int) -> Trajectory:
        """Parse one record, and check its calls against their images."""
        place, records = self.place(index), self._records
        try:
            record = records.read(index)
            notes = tuple(dict.fromkeys([*self._notes, *unread_keys(record, self._keys)]))
            trajectory = self._parse(record, records.id(index), partial(self._image, origin=place))
            return _settled(trajectory, self.bad, self.keep, notes)
        except DataError as err:
            raise err.at(place) from None


def _settled(trajectory: Trajectory, bad: BadRows, keep: tuple[str, ...], further: tuple[str, ...]) -> Trajectory:
    """Return a trajectory with boxes and crops repaired as the policy says, further notes and tokens to keep.

    Raises:
        DataError: If a call names an image that is not there yet, or its box reaches beyond its image.
    """
    notes, steps = [*trajectory.notes, *further], []
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
    if not (notes or keep):
        return trajectory
    return replace(trajectory, steps=tuple(steps), notes=tuple(notes), keep=(*trajectory.keep, *keep))


def _widened(image: LazyImage) -> LazyImage | None:
    """Return an image whose crop is too thin with more of its picture around it; None if there is nothing to widen.

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
    """Return a stretch widened to a length, both ways alike, as far as there is room from 0 to ``end``."""
    missing = max(0, least - (high - low))
    low = max(0, min(low - missing // 2, end - least))
    return low, min(end, max(high, low + least))
