"""Typed access to the values of a JSON object, with messages that name the key."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from jepa_vlm.errors import DataError, UnknownNameError

T = TypeVar("T")

_NAMES = {
    str: "a string",
    list: "a list",
    dict: "an object",
    bool: "true or false",
    int: "a whole number",
    bytes: "bytes",
}
_SHOWN = 60  # characters of a wrong value that a message repeats


def field(row: Mapping[str, Any], key: str, kind: type[T], default: T | None = None) -> T:
    """Return ``row[key]``, or the default where the key is missing or null.

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
    """Return the value.

    Raises:
        DataError: If it is not of the kind; true and false are not numbers.
    """
    if type(value) is not kind:
        raise DataError(f"{what} must be {_NAMES[kind]}, got {shown(value)}.", "key")
    return value


def choice(value: str, known: Iterable[str], what: str) -> str:
    """Return an option's value.

    Raises:
        UnknownNameError: If it is none of the known ones.
    """
    if value not in known:
        raise UnknownNameError(what, value, known=known)
    return value


def whole_number(value: str, what: str) -> int:
    """Return an option's value, a whole number of at least 1.

    Raises:
        DataError: If it is anything else.
    """
    if not value.isdecimal() or int(value) < 1:
        raise DataError(f"{what} must be a whole number of at least 1, got {value!r}.")
    return int(value)


def four_numbers(value: object, what: str) -> tuple[float, float, float, float]:
    """Return the value, a list of four finite numbers, as a tuple.

    Raises:
        DataError: If it is anything else.
    """
    if not (isinstance(value, list) and len(value) == 4 and all(_is_number(number) for number in value)):
        message = f"{what} must be four finite numbers [left, top, right, bottom], got {shown(value)}."
        raise DataError(message, "box")
    left, top, right, bottom = value
    return left, top, right, bottom


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False


def shown(value: object) -> str:
    """Return a value as a message repeats it: cut where it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
