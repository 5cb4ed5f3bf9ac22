"""Records of JSON files: the file is searched once for where each record begins, a record is parsed on access.

A record is named by its place: ``FILE:LINE`` in JSON lines, ``FILE[INDEX]`` in a JSON list, as Python counts.
"""

from __future__ import annotations

import codecs
import json
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, final

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.formats.records import Records
from jepa_vlm.trajectories.json_values import JsonObject, parse_object

# First bytes of files that are no JSON.
OTHER_KINDS = {b"PAR1": "parquet", b"\x1f\x8b": "compressed; unpack it first", b"PK\x03\x04": "a zip; unpack it first"}
MAX_RECORD = 1 << 26  # bytes of one record; a trajectory without its images takes thousands
_CHUNK = 1 << 20
_JSON = json.JSONDecoder(parse_int=str)  # finds where values end; Python refuses to convert a number of 4,301 digits
_SIGN = re.compile(r"[^ \t\r\n]")
Span = tuple[int, int, int]  # number of a record (line from 1, or index from 0), first byte, byte after the last


@final
class JsonRecords(Records):
    """The records of a JSON file, whatever its name: a list of objects, one object a line, or one after another.

    Args:
        path: The file. Its first character tells whether it is a list.

    Raises:
        DataError: If the file is missing, is no JSON, is cut short inside a list, or is empty.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(label=path.stem)
        self.path = path
        self._numbers, self._starts, self._ends = array("Q"), array("Q"), array("Q")
        with _readable(path):
            self._by_line, found = _found(path)
            for number, start, end in found:
                self._numbers.append(number)
                self._starts.append(start)
                self._ends.append(end)
        if not len(self):
            raise DataError(f"Data file {path} is empty; it must hold JSON objects, one a line or in a list.", "file")

    def __len__(self) -> int:
        return len(self._numbers)

    def read(self, index: int) -> JsonObject:
        """Return a record."""
        size = self._ends[index] - self._starts[index]
        if size > MAX_RECORD:
            raise DataError(f"a record may have {MAX_RECORD:,} bytes, this one has {size:,}.", "text too long")
        with _readable(self.path), self.path.open("rb") as file:
            file.seek(self._starts[index])
            return parse_object(file.read(size).strip())

    def place(self, index: int) -> str:
        """Return file and line, from 1, or file and index, from 0."""
        number = self._numbers[index]
        return f"{self.path}:{number}" if self._by_line else f"{self.path}[{number}]"

    def keep(self, reason: Callable[[JsonObject], str]) -> None:
        """Leave out and count records that are no trajectories; those that cannot be parsed stay, to be refused.

        Args:
            reason: Returns why a record is no trajectory, or "" if it is one.
        """
        counts: Counter[str] = Counter()
        kept = []
        for index in range(len(self)):
            try:
                why = reason(self.read(index))
            except DataError:
                why = ""
            counts[why] += 1
            if not why:
                kept.append(index)
        del counts[""]
        self.dropped = dict(counts)
        self._numbers, self._starts, self._ends = (
            array("Q", (own[index] for index in kept)) for own in (self._numbers, self._starts, self._ends)
        )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn the errors of opening a file into one message."""
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"Data file {path} cannot be read: it is not a file.", "file")
        yield
    except FileNotFoundError:
        raise DataError(f"Data file {path} does not exist; check the path.", "file") from None
    except OSError as err:
        raise DataError(f"Data file {path} cannot be read ({err.strerror}).", "file") from None


def _skip_mark(file: BinaryIO) -> int:
    """Move behind the byte order mark, if the file begins with one; return the place."""
    file.seek(0)
    return file.seek(len(codecs.BOM_UTF8) if file.read(3) == codecs.BOM_UTF8 else 0)


def _found(path: Path) -> tuple[bool, Iterator[Span]]:
    """Return whether records are named by their lines, and where they are."""
    with path.open("rb") as file:
        start = _skip_mark(file)
        head = file.read(_CHUNK)
        for begin, kind in OTHER_KINDS.items():
            if head.startswith(begin):
                raise DataError(f"Data file {path} must hold JSON, but it is {kind}.", "file")
        if head.lstrip()[:1] == b"[":
            return False, _elements(path, listed=True)
        file.seek(start)
        line = next((line for line in iter(partial(file.readline, MAX_RECORD), b"") if line.strip()), b"")
        if not _begins_whole(line) and _begins_whole(line + file.read(MAX_RECORD)):  # an object of several lines
            return False, _elements(path, listed=False)
    return True, _lines(path)


def _begins_whole(content: bytes) -> bool:
    """Return whether bytes begin with a whole JSON value."""
    try:
        _JSON.raw_decode(content.lstrip().decode("latin-1"))
    except (ValueError, RecursionError):
        return False
    return True


def _lines(path: Path) -> Iterator[Span]:
    """Yield each line that is not blank."""
    with path.open("rb") as file:
        start = end = _skip_mark(file)
        number, blank = 1, True
        while piece := file.readline(_CHUNK):
            blank = blank and not piece.strip()
            end += len(piece)
            if piece.endswith(b"\n"):
                if not blank:
                    yield number, start, end
                number, blank, start = number + 1, True, end
        if not blank:
            yield number, start, end


def _elements(path: Path, *, listed: bool) -> Iterator[Span]:
    """Yield each element of a list, or each of the objects that stand one after another."""
    with path.open("rb") as file:
        text, index = _Window(file), 0
        if listed:
            text.skip(text.peek())
        while (sign := text.peek()) != ("]" if listed else ""):
            if index and listed:
                if sign != ",":
                    raise DataError(f"{path}[{index}]: not valid JSON (expected ',' or ']', got {sign!r}).", "json")
                text.skip(sign)
                text.peek()
            yield index, *text.element(f"{path}[{index}]")
            index += 1
        text.skip(sign)
        if sign and (more := text.peek()):
            raise DataError(f"Data file {path} must hold one JSON list, but goes on with {more!r} after it.", "file")


class _Window:
    """The part of a JSON file that is being searched.

    It is decoded as Latin-1, so that characters and bytes have the same numbers. In UTF-8 all that JSON's own signs are
    made of is ASCII, and no byte of another character looks like ASCII. Broken bytes cost their own record alone.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._before = file, _skip_mark(file)
        self._text, self._at = "", 0

    def peek(self) -> str:
        """Go to the next character that is no space and return it, or "" at the end."""
        while True:
            if found := _SIGN.search(self._text, self._at):
                self._at = found.start()
                return found[0]
            self._at = len(self._text)
            if not self._read_on():
                return ""

    def skip(self, sign: str) -> None:
        """Go past a character."""
        self._at += len(sign)

    def element(self, place: str) -> tuple[int, int]:
        """Go past the JSON value that begins here; return its first byte and the byte after its last."""
        while True:
            try:
                _, end = _JSON.raw_decode(self._text, self._at)
                if end < len(self._text) or not self._read_on():  # a number may go on behind the window
                    begin, self._at = self._at, end
                    return self._before + begin, self._before + end
                continue
            except json.JSONDecodeError as err:
                problem = err.msg
            except RecursionError as err:
                problem = str(err)
            if len(self._text) - self._at > 4 * MAX_RECORD:
                raise DataError(f"{place}: no JSON value ends within {4 * MAX_RECORD:,} characters.", "json")
            if not self._read_on():
                raise DataError(f"{place}: not valid JSON ({problem}); the list ends here.", "json")

    def _read_on(self) -> bool:
        """Drop what was searched and read on, at least as much as is left, so that long elements take linear time."""
        piece = self._file.read(max(_CHUNK, len(self._text) - self._at))
        if piece:
            self._before += self._at
            self._text, self._at = self._text[self._at :] + piece.decode("latin-1"), 0
        return bool(piece)
