"""Records of JSON files: where each one begins is indexed once, each is parsed when it is asked for.

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
from typing import Any, final

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.formats.records import Record, Records, parse_object

# How files begin that are no JSON.
OTHER_KINDS = {b"PAR1": "parquet", b"\x1f\x8b": "compressed; unpack it first", b"PK\x03\x04": "a zip; unpack it first"}
MAX_RECORD = 1 << 26  # bytes of one record; a trajectory without its images takes thousands
_CHUNK = 1 << 20
_JSON = json.JSONDecoder(parse_int=str)  # finds where values end; Python refuses to convert a number of 4,301 digits
_SPACE = re.compile(r"[ \t\r\n]*")

Keep = Callable[[Record], str]
"""Says why a record is no trajectory, or "" if it is one."""


@final
class JsonRecords(Records):
    """The records of a JSON file, whatever it is called: a list of objects, one object a line, or one after another.

    Args:
        path: The file. Its first character says whether it is a list.

    Raises:
        DataError: If the file is missing, is no JSON, is cut short inside a list, or holds nothing.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(label=path.stem)
        self.path = path
        self._starts, self._ends, self._names = array("Q"), array("Q"), array("Q")
        with _readable(path):
            self._by_line, found = _found(path)
            for name, start, end in found:
                self._names.append(name)
                self._starts.append(start)
                self._ends.append(end)
        if not len(self):
            raise DataError(f"Data file {path} is empty; it must hold JSON objects, one a line or in a list.", "file")

    def __len__(self) -> int:
        return len(self._names)

    def read(self, index: int) -> Record:
        """Return a record."""
        size = self._ends[index] - self._starts[index]
        if size > MAX_RECORD:
            raise DataError(f"a record may have {MAX_RECORD:,} bytes, this one has {size:,}.", "text too long")
        with _readable(self.path), self.path.open("rb") as file:
            file.seek(self._starts[index])
            return parse_object(file.read(size).strip())

    def place(self, index: int) -> str:
        """Return file and line, from 1, or file and index, from 0."""
        name = self._names[index]
        return f"{self.path}:{name}" if self._by_line else f"{self.path}[{name}]"

    def keep(self, reason: Keep) -> None:
        """Leave out and count the records that are no trajectories; those that cannot be parsed stay, to be refused."""
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
        for name in ("_names", "_starts", "_ends"):
            own = getattr(self, name)
            setattr(self, name, array("Q", (own[index] for index in kept)))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what opening a file may raise into one message."""
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"Data file {path} cannot be read: it is not a file.", "file")
        yield
    except FileNotFoundError:
        raise DataError(f"Data file {path} does not exist; check the path.", "file") from None
    except OSError as err:
        raise DataError(f"Data file {path} cannot be read ({err.strerror}).", "file") from None


def _found(path: Path) -> tuple[bool, Iterator[tuple[int, int, int]]]:
    """Say whether records are named by their lines, and return name, first byte and byte after the last of each."""
    with path.open("rb") as file:
        start = len(codecs.BOM_UTF8) if file.read(3) == codecs.BOM_UTF8 else 0
        file.seek(start)
        head = file.read(_CHUNK)
        for begin, kind in OTHER_KINDS.items():
            if head.startswith(begin):
                raise DataError(f"Data file {path} must hold JSON, but it is {kind}.", "file")
        if head.lstrip()[:1] == b"[":
            return False, _elements(path, listed=True)
        file.seek(start)
        line = next((line for line in iter(partial(file.readline, MAX_RECORD), b"") if line.strip()), b"")
        if not _ends(line) and _ends(line + file.read(MAX_RECORD)):  # the first object spans several lines
            return False, _elements(path, listed=False)
    return True, _lines(path)


def _ends(content: bytes) -> bool:
    """Say whether bytes begin with a whole JSON value."""
    try:
        _JSON.raw_decode(content.decode(errors="surrogateescape").strip())
    except (ValueError, RecursionError):
        return False
    return True


def _lines(path: Path) -> Iterator[tuple[int, int, int]]:
    """Yield (line from 1, first byte, byte after the last) of each line that is not blank."""
    with path.open("rb") as file:
        start = len(codecs.BOM_UTF8) if file.read(3) == codecs.BOM_UTF8 else 0
        file.seek(start)
        number, blank, end = 1, True, start
        while piece := file.readline(_CHUNK):
            blank = blank and not piece.strip()
            end += len(piece)
            if piece.endswith(b"\n"):
                if not blank:
                    yield number, start, end
                number, blank, start = number + 1, True, end
        if not blank:
            yield number, start, end


def _elements(path: Path, *, listed: bool) -> Iterator[tuple[int, int, int]]:
    """Yield (index, first byte, byte after the last) of each element of a list, or of objects one after another."""
    with path.open("rb") as file:
        text, index = _Window(file), 0
        end = "]" if listed else ""
        if listed:
            text.peek()
            text.skip(1)
        while (sign := text.peek()) != end:
            if index and listed:
                if sign != ",":
                    raise DataError(f"{path}[{index}]: not valid JSON (expected ',' or ']', got {sign!r}).", "json")
                text.skip(1)
                text.peek()
            yield index, *text.element(f"{path}[{index}]")
            index += 1
        if not listed:
            return
        text.skip(1)
        if sign := text.peek():
            raise DataError(f"Data file {path} must hold one JSON list, but goes on with {sign!r} after it.", "file")


class _Window:
    """The part of a text file that is being parsed; remembers how many bytes came before it."""

    def __init__(self, file: Any) -> None:
        # Broken bytes are carried along, so that they cost their own record alone.
        self._file, self._decode = file, codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._text, self._at = "", 0
        self._byte = 3 if file.read(3) == codecs.BOM_UTF8 else 0
        file.seek(0)

    def peek(self) -> str:
        """Return the next character that is no space, or "" at the end."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self.skip(space.end() - self._at if space else 0)
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def skip(self, count: int) -> None:
        """Go on by so many characters."""
        self._byte += len(self._text[self._at : self._at + count].encode(errors="surrogateescape"))
        self._at += count

    def element(self, place: str) -> tuple[int, int]:
        """Go past one JSON value, which begins here; return its first byte and the byte after its last."""
        begin = self._byte
        while True:
            try:
                _, end = _JSON.raw_decode(self._text, self._at)
                length = end - self._at
                if end < len(self._text) or not self._more():  # a number may go on behind what was read so far
                    self.skip(length)
                    return begin, self._byte
                continue
            except json.JSONDecodeError as err:
                problem = err.msg
            except RecursionError as err:
                problem = str(err)
            if len(self._text) - self._at > 4 * MAX_RECORD:
                raise DataError(f"{place}: no JSON value ends within {4 * MAX_RECORD:,} characters.", "json")
            if not self._more():
                raise DataError(f"{place}: not valid JSON ({problem}); the list ends here.", "json")

    def _more(self) -> bool:
        """Read on, at least as much as is waiting, so that long elements are not tried again and again."""
        waiting = self._text[self._at :]
        piece = self._file.read(max(_CHUNK, len(waiting)))
        self._text, self._at = waiting + self._decode.decode(piece, final=not piece), 0
        return bool(piece)
