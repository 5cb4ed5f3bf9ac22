"""JSON values: strict parsing, and typed access with messages that name the key."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import TypeVar

from jepa_vlm.errors import DataError, UnknownNameError

T = TypeVar("T")
JsonObject = Mapping[str, object]

_NAMES = {
    str: "a string",
    list: "a list",
    dict: "an object",
    bool: "true or false",
    int: "a whole number",
    bytes: "bytes",
}
_SHOWN = 60  # characters of a wrong value that a message repeats


def field(row: JsonObject, key: str, kind: type[T], default: T | None = None) -> T:
    """Return ``row[key]``, or the default if the key is missing or null.

    Raises:
        DataError: If the value is missing without a default, or not of the kind.
    """
    value = row.get(key)
    if value is None:
        if default is None:
            raise DataError(f"key {key!r} is missing; it must be {_NAMES[kind]}.", "key")
        return default
    return checked(value, kind, f"key {key!r}")


def checked(value: object, kind: type[T], what: str) -> T:
    """Return the value if it is of the kind.

    Raises:
        DataError: If it is of another kind; true and false are not numbers.
    """
    if type(value) is not kind:
        raise DataError(f"{what} must be {_NAMES[kind]}, got {shown(value)}.", "key")
    return value


def choice(value: str, known: Iterable[str], what: str) -> str:
    """Return the value of an option if it is one of the known ones.

    Raises:
        UnknownNameError: If it is none of them.
    """
    if value not in known:
        raise UnknownNameError(what, value, known=known)
    return value


def shown(value: object) -> str:
    """Return a value as messages repeat it: a long one is cut."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def parse_json(text: str) -> object:
    """Return the value of a JSON text.

    Raises:
        ValueError: If the text is not JSON. NaN and infinities, which Python's own parser accepts, are not JSON.
    """
    try:
        return json.loads(text, parse_constant=_refuse_number, parse_float=_finite)
    except RecursionError as err:
        raise ValueError(str(err)) from None


def _refuse_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON number; write null, or leave the key out")


def _finite(text: str) -> float:
    return number if math.isfinite(number := float(text)) else _refuse_number(text)


def parse_object(content: bytes) -> dict[str, object]:
    """Return the JSON object in the bytes.

    Raises:
        DataError: If the bytes are not UTF-8, not JSON, or another value than an object.
    """
    try:
        row = parse_json(content.decode("utf-8"))
    except UnicodeDecodeError as err:
        raise DataError(f"cannot be read as UTF-8 text ({err.reason} at byte {err.start}).", "json") from None
    except json.JSONDecodeError as err:
        message = f"not valid JSON ({err.msg} at column {err.colno}); a record must be one JSON object."
        raise DataError(message, "json") from None
    except ValueError as err:
        raise DataError(f"not usable JSON ({err}).", "json") from None
    return checked(row, dict, "a record")
