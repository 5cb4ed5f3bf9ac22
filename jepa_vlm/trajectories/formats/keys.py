"""Keys of records: those that a format reads, those that are labels, and those that change what a row means.

A key that a format does not know is listed, with the number of rows that have it, by ``data check`` and at the start of
a run. A key that changes what is trained, and that the format does not read, is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, final

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.formats.records import parse_json

NOT_LOADED = "a column that is not read"  # stands for its values
TRAINED = ("assistant", "gpt")  # whose turns are trained, by "role" or "from"


@final
@dataclass(frozen=True)
class Keys:
    """The keys of one kind of object in a format's records.

    Args:
        read: What the format reads.
        inside: What it reads of values that are objects, or lists that hold objects, by key.
        labels: Keys of the format that say nothing about what is trained.
        json_text: Whether the object may also stand as JSON text.
    """

    read: tuple[str, ...] = ()
    inside: Mapping[str, Keys] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    json_text: bool = False


Object = Mapping[str, Any]


def _says_something(value: object, _: Object) -> bool:
    """Say whether a value is not empty, whatever it is nested in."""
    if isinstance(value, dict | list):
        return any(_says_something(one, {}) for one in (value.values() if isinstance(value, dict) else value))
    return value not in (None, False, "")


def _weighs(value: object, turn: Object) -> bool:
    """Say whether a weight is another than 1, of a turn that is trained."""
    return value != 1 and turn.get("role", turn.get("from", TRAINED[0])) in TRAINED


def _is_false(value: object, _: Object) -> bool:
    return value is False


def _is_object(value: object, _: Object) -> bool:
    return isinstance(value, dict)


# Key patterns, when their values change the meaning, and what to do about them.
MEANINGS: tuple[tuple[tuple[str, ...], Callable[[object, Object], bool], str], ...] = (
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


def unread_keys(row: Object, keys: Keys, at: str = "") -> Iterator[str]:
    """Yield a note on each key that is not read, by its path: ``messages[].name``. A null says nothing.

    Args:
        row: A record, or an object inside one.
        keys: What is known of it.
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
    """Say whether some value of a key would be refused, so that it has to be looked at."""
    return any(fnmatchcase(key, pattern) for patterns, _, _ in MEANINGS for pattern in patterns)


def _inside(value: object, keys: Keys, path: str) -> Iterator[str]:
    if keys.json_text and isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError:
            return  # said when the row is read
    if isinstance(value, dict):
        yield from unread_keys(value, keys, f"{path}.")
    for one in value if isinstance(value, list) else []:
        if isinstance(one, dict):
            yield from unread_keys(one, keys, f"{path}[].")
