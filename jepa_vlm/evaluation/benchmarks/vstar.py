"""V*: 191 questions on small things in large photographs (Wu and Xie, arXiv:2312.14135).

``vstar:FOLDER`` is a download of craigwu/vstar_bench: test_questions.jsonl, whose rows have image (a path), text,
category, label and question_id, with the folders direct_attributes and relative_position beside it.
"""

from __future__ import annotations

import json
from pathlib import Path

from jepa_vlm.errors import DataError
from jepa_vlm.evaluation.benchmarks.benchmark import BENCHMARKS, SIZES, folder_of, parse_source
from jepa_vlm.evaluation.item import INSTRUCTION, BenchmarkItem, drawn, option_index, split_options
from jepa_vlm.trajectories.formats.images import ImageRoots
from jepa_vlm.trajectories.json_values import checked, field

QUESTIONS = "test_questions.jsonl"
HUB_ID = "craigwu/vstar_bench"


@BENCHMARKS.register("vstar")
def vstar_questions(argument: str, *, count: int | None, seed: int) -> list[BenchmarkItem]:
    """Return the questions, in the file's order.

    Raises:
        DataError: If a file is missing, or a row is not what it must be; the message begins with file and line.
    """
    spec = parse_source("vstar", argument, hub_id=HUB_ID)
    folder = folder_of(spec, patterns=[QUESTIONS, "direct_attributes/*", "relative_position/*"])
    path = folder / QUESTIONS
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # splitlines would part a text at U+2028
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; vstar:FOLDER must be a download of {HUB_ID}.") from None
    except (OSError, UnicodeDecodeError) as err:
        raise DataError(f"{path} cannot be read as UTF-8 text ({err}).") from None
    items = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                items.append(_item(checked(json.loads(line), dict, "a line"), folder, f"{path}:{number}"))
            except (DataError, ValueError, RecursionError) as err:
                raise DataError(f"{path}:{number}: {err}") from None
    return drawn(items, count, seed)


def _item(row: dict[str, object], folder: Path, origin: str) -> BenchmarkItem:
    category, text = field(row, "category", str), field(row, "text", str)
    if category not in SIZES["vstar"]:
        raise DataError(f"key 'category' must be one of {', '.join(SIZES['vstar'])}; got {category!r}.")
    number = row.get("question_id")
    if not isinstance(number, int | str) or not str(number).isdecimal():
        raise DataError(f"key 'question_id' must be a whole number, got {number!r}.")
    question, options = split_options(text.rstrip().removesuffix(INSTRUCTION))
    return BenchmarkItem(
        benchmark="vstar",
        id=f"{category}/{int(number)}",
        images=(ImageRoots(folder).image(field(row, "image", str), origin=origin),),
        question=question,
        options=options,
        answer=option_index(field(row, "label", str), options),
        task=category,
        source=text,
    )
