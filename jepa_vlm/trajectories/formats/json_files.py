"""Records of JSON files: where each one begins is indexed once, each is parsed when it is asked for.

A record is named by its place: ``FILE:LINE`` in JSON lines, ``FILE[INDEX]`` in a JSON list, as Python counts.
"""

from __future__ import annotations

import codecs
import json
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.formats.records import Record, Records, parse_object

MAX_RECORD = 1 << 26  # bytes of one record; a trajectory without its images takes thousands
_CHUNK = 1 << 20
_JSON = json.JSONDecoder(parse_int=str)  # finds where values end; Python refuses to convert a number of 4,301 digits
_SPACE = re.compile(r"[ \t\r\n]*")

Keep = Callable[[Record], str]
"""Says why a record is no trajectory, or "" if it is one."""


class _JsonRecords(Records):
    """Records that are stretches of a file's bytes."""

    def __init__(self, path: Path, found: Iterable[tuple[int, int, int]]) -> None:
        super().__init__(label=path.stem)
        self.path = path
        self._starts, self._ends, self._names = array("Q"), array("Q"), array("Q")
        for name, start, end in found:
            self._names.append(name)
            self._starts.append(start)
            self._ends.append(end)

    def __len__(self) -> int:
        return len(self._names)

    def read(self, index: int) -> Record:
        """Return a record."""
        size = self._ends[index] - self._starts[index]
        if size > MAX_RECORD:
            raise DataError(f"a record may have {MAX_RECORD:,} bytes, this one has {size:,}.", "text too long")
        with self.path.open("rb") as file:
            file.seek(self._starts[index])
            return parse_object(file.read(size).strip())

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


@final
class JsonLines(_JsonRecords):
    """A file with one JSON object per line; blank lines are no records.

    Raises:
        DataError: If the file is missing, cannot be read, or holds nothing.
    """

    def __init__(self, path: Path) -> None:
        with _readable(path):
            super().__init__(path, _lines(path))
        if not len(self):
            raise DataError(f"Data file {path} is empty; it must hold one JSON object per line.", "file")

    def place(self, index: int) -> str:
        """Return file and line, from 1."""
        return f"{self.path}:{self._names[index]}"


@final
class JsonList(_JsonRecords):
    """A file that holds one JSON list of objects.

    Raises:
        DataError: If the file is missing, is no list, is cut short, or holds nothing.
    """

    def __init__(self, path: Path) -> None:
        with _readable(path):
            super().__init__(path, _elements(path))
        if not len(self):
            raise DataError(f"Data file {path} is empty; it must hold a list of JSON objects.", "file")

    def place(self, index: int) -> str:
        """Return file and index in the list, from 0."""
        return f"{self.path}[{self._names[index]}]"


def json_records(path: Path) -> JsonLines | JsonList:
    """Return the records of a .jsonl file, or of the list in a .json file."""
    return JsonLines(path) if path.suffix == ".jsonl" else JsonList(path)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what opening a file may raise into one message."""
    if path.exists() and not path.is_file():
        raise DataError(f"Data file {path} cannot be read: it is not a file.", "file")
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"Data file {path} does not exist; check the path.", "file") from None
    except OSError as err:
        raise DataError(f"Data file {path} cannot be read ({err.strerror}).", "file") from None


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


def _elements(path: Path) -> Iterator[tuple[int, int, int]]:
    """Yield (index, first byte, byte after the last) of each element of the list that the file holds."""
    with path.open("rb") as file:
        text = _Window(file)
        if text.peek() != "[":
            raise DataError(f"Data file {path} must hold a JSON list, it begins with {text.peek()!r}.", "file")
        text.skip(1)
        index = 0
        while (sign := text.peek()) != "]":
            if index:
                if sign != ",":
                    raise DataError(f"{path}[{index}]: not valid JSON (expected ',' or ']', got {sign!r}).", "json")
                text.skip(1)
                text.peek()
            yield index, *text.element(f"{path}[{index}]")
            index += 1
        text.skip(1)
        if sign := text.peek():
            raise DataError(f"Data file {path} must hold one JSON list, but goes on with {sign!r} after it.", "file")


class _Window:
    """The part of a text file that is being parsed; remembers how many bytes came before it."""

    def __init__(self, file: Any) -> None:
        self._file, self._decode = file, codecs.getincrementaldecoder("utf-8-sig")()
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
        self._byte += len(self._text[self._at : self._at + count].encode())
        self._at += count

    def element(self, place: str) -> tuple[int, int]:
        """Go past one JSON value, which begins here; return its first byte and the byte after its last."""
        begin = self._byte
        while True:
            try:
                _, end = _JSON.raw_decode(self._text, self._at)
                if end < len(self._text):  # a number at the very end may go on
                    self.skip(end - self._at)
                    return begin, self._byte
                problem = "it is cut short"
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
        try:
            self._text = waiting + self._decode.decode(piece, final=not piece)
        except UnicodeDecodeError as err:
            raise DataError(f"Data file cannot be read as UTF-8 text ({err.reason}).", "json") from None
        self._at = 0
        return bool(piece)
