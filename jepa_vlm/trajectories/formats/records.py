"""What a format reads: records, found and parsed one at a time."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.formats.fields import checked

Record = dict[str, Any]


class Records(ABC):
    """Records of a source, by index.

    Args:
        label: Short name of the source, from which rows without an id of their own get one.
    """

    def __init__(self, *, label: str) -> None:
        self.label = label
        self.dropped: Mapping[str, int] = {}

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def place(self, index: int) -> str:
        """Return what messages call the record."""

    @abstractmethod
    def read(self, index: int) -> Record:
        """Return a record.

        Raises:
            DataError: If it cannot be parsed; without its place.
        """


def parse_json(text: str) -> Any:
    """Return the value that a text spells.

    Raises:
        ValueError: If it is no JSON. Python's own parser takes NaN and infinities, which are none.
    """
    try:
        return json.loads(text, parse_constant=_refuse_number, parse_float=_finite)
    except RecursionError as err:
        raise ValueError(str(err)) from None


def _refuse_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON number; write null, or leave the key out")


def _finite(text: str) -> float:
    return number if math.isfinite(number := float(text)) else _refuse_number(text)


def parse_object(content: bytes) -> Record:
    """Return the JSON object that the bytes spell.

    Raises:
        DataError: If they are no UTF-8, no JSON, or no object.
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
