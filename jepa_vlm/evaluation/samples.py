"""One line per item, in the fields of lmms-eval's sample files, written as the answers come.

``SCORING_samples_BENCHMARK.jsonl`` holds an object per item: ``doc_id`` (its place), ``target``, ``filtered_resps``
(the letter that was read, or ""), ``resps`` (what was generated), ``input`` (the prompt), ``score`` (1.0 or 0.0) and
``doc_hash``, which lmms-eval's tools read, and besides them ``id``, ``task`` and ``group``. ``SCORING_samples_
BENCHMARK.settings.json`` says what the answers are of: lines are kept only under the same settings.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, final

from jepa_vlm.evaluation.protocol import Protocol
from jepa_vlm.generation import LetterAnswer, Scoring
from jepa_vlm.generation.tool_loop import ToolUse
from jepa_vlm.trajectories import MultipleChoice
from jepa_vlm.whole_files import write_whole


@final
class SampleFiles:
    """The sample files of one evaluation, a context manager.

    Args:
        folder: Folder of the files.
        benchmark: The benchmark's name, part of the files' names.
        protocols: The protocol of each scoring.
        items: The items, in order; one whose picture has changed is another item.
        settings: Everything else that an answer depends on.
    """

    def __init__(
        self,
        folder: Path,
        benchmark: str,
        protocols: Mapping[Scoring, Protocol],
        items: Sequence[MultipleChoice],
        *,
        settings: Mapping[str, object],
    ) -> None:
        self._items = items
        self._paths = {scoring: folder / f"{scoring}_samples_{benchmark}.jsonl" for scoring in protocols}
        asked = [part for item in items for part in (_doc_hash(item), *(one.digest().hex() for one in item.images))]
        whole = {"items": _digest(asked), **settings}
        self._settings = {
            scoring: json.dumps({**whole, "protocol": asdict(protocol)}, indent=1) + "\n"
            for scoring, protocol in protocols.items()
        }
        self._lines: dict[Scoring, list[str]] = {}
        self._files: dict[Scoring, IO[bytes]] = {}

    def __enter__(self) -> SampleFiles:
        for scoring, path in self._paths.items():
            settings = path.with_suffix(".settings.json")
            same = settings.is_file() and settings.read_text(encoding="utf-8") == self._settings[scoring]
            if not same:
                path.unlink(missing_ok=True)
                write_whole(settings, self._settings[scoring])
            self._lines[scoring] = _whole_lines(path)
            self._files[scoring] = path.open("ab")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()

    def kept(self, start: int, count: int) -> dict[Scoring, list[LetterAnswer]] | None:
        """Return the answers of a batch if every file holds all of them, else None."""
        if any(len(lines) < start + count for lines in self._lines.values()):
            return None
        return {
            scoring: [_answer(line) for line in lines[start : start + count]] for scoring, lines in self._lines.items()
        }

    def write(self, start: int, answers: Mapping[Scoring, Sequence[LetterAnswer]]) -> None:
        """Write a batch behind the ones before it; lines of it that an interruption had left are written anew."""
        for scoring, found in answers.items():
            lines, file = self._lines[scoring], self._files[scoring]
            if len(lines) > start:
                del lines[start:]
                file.truncate(sum(len(line.encode()) + 1 for line in lines))
            new = [_row(self._items[start + i], start + i, answer) for i, answer in enumerate(found)]
            lines += new
            file.write("".join(line + "\n" for line in new).encode())
            file.flush()
            os.fsync(file.fileno())


def _row(item: MultipleChoice, place: int, answer: LetterAnswer) -> str:
    target = item.letters[item.answer]
    row = {
        "doc_id": place,
        "target": target,
        "filtered_resps": answer.letter or "",
        "resps": [answer.text],
        "input": item.prompt,
        "score": float(answer.letter == target),
        "doc_hash": _doc_hash(item),
        "id": item.id,
        "task": item.task,
        "group": item.group,
    }
    if answer.use is not None:
        row["tool_use"] = asdict(answer.use)
    if answer.latent_steps is not None:
        row["latent_steps"] = answer.latent_steps
    if answer.opened is not None:
        row["opened"] = answer.opened
    return json.dumps(row, ensure_ascii=True)


def _answer(line: str) -> LetterAnswer:
    row = json.loads(line)
    use = ToolUse(**row["tool_use"]) if "tool_use" in row else None
    more = {"use": use, "latent_steps": row.get("latent_steps"), "opened": row.get("opened")}
    return LetterAnswer(row["id"], row["filtered_resps"] or None, row["resps"][0], **more)


def _whole_lines(path: Path) -> list[str]:
    """Return the lines of a file, and cut off a last one that an interruption left without its end."""
    if not path.is_file():
        return []
    whole = path.read_bytes().rpartition(b"\n")
    if whole[2]:
        with path.open("r+b") as file:
            file.truncate(len(whole[0]) + len(whole[1]))
    return whole[0].decode("ascii").split("\n") if whole[1] else []


def _doc_hash(item: MultipleChoice) -> str:
    return _digest([item.id, item.prompt, *item.options, str(item.answer)])


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()
