"""MMVP: 150 pairs of pictures that CLIP takes for alike (Tong et al., arXiv:2401.06209).

``mmvp:FOLDER`` is a download of MMVP/MMVP: Questions.csv with the columns Index, Question, Options and Correct Answer,
and the folder "MMVP Images" (or MMVP_Images) with 1.jpg to 300.jpg. Pictures are joined by their stem, never by their
order, which is 1, 10, 100, ... where files are listed.

Items 2k - 1 and 2k are a pair. ``mmvp:FOLDER#labels=corrected`` swaps the answers of items 99 and 100, and of 279 and
280 (tsb0601/MMVP issue 30); ``original``, the default, is what papers report on.
"""

from __future__ import annotations

import csv
from pathlib import Path

from jepa_vlm.errors import DataError
from jepa_vlm.evaluation.benchmarks.benchmark import BENCHMARKS, folder_of, parse_source
from jepa_vlm.evaluation.item import BenchmarkItem, drawn, option_index, split_options
from jepa_vlm.trajectories.formats.images import ImageRoots
from jepa_vlm.trajectories.json_values import shown

QUESTIONS = "Questions.csv"
IMAGES = ("MMVP Images", "MMVP_Images")
COLUMNS = ("Index", "Question", "Options", "Correct Answer")
CORRECTED = {99: "(b)", 100: "(a)", 279: "(b)", 280: "(a)"}
HUB_ID = "MMVP/MMVP"
DIGITS = 9  # most digits of an index: Python refuses to read thousands of them


@BENCHMARKS.register("mmvp")
def mmvp_questions(argument: str, *, count: int | None, seed: int) -> list[BenchmarkItem]:
    """Return the questions by their index; a pair shares its group.

    Raises:
        DataError: If a file is missing, or a row is not what it must be; the message begins with file and line.
    """
    spec = parse_source("mmvp", argument, hub_id=HUB_ID, options=("labels",))
    labels = spec.options.get("labels", "original")
    if labels not in ("original", "corrected"):
        raise DataError(f"labels must be original or corrected, got {labels!r}.")
    folder = folder_of(spec, patterns=[QUESTIONS, *(f"{name}/*" for name in IMAGES)])
    path, files = folder / QUESTIONS, _files_by_stem(folder)
    rows: dict[int, BenchmarkItem] = {}
    for line, row in _rows(path):
        try:
            item = _item(row, folder, files, f"{path}:{line}", corrected=labels == "corrected")
            index = int(item.id)
            if index in rows:
                raise DataError(f"Index {index} appears twice.")
            rows[index] = item
        except DataError as err:
            raise DataError(f"{path}:{line}: {err}") from None
    return drawn([rows[index] for index in sorted(rows)], count, seed)


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{path} lacks the columns {', '.join(missing)}; it must have {', '.join(COLUMNS)}.")
            return [(reader.line_num, {name: row[name] or "" for name in COLUMNS}) for row in reader]
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; mmvp:FOLDER must be a download of {HUB_ID}.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as err:
        raise DataError(f"{path} cannot be read as a CSV of UTF-8 text ({err}).") from None


def _files_by_stem(folder: Path) -> dict[str, str]:
    found = next((folder / name for name in IMAGES if (folder / name).is_dir()), None)
    if found is None:
        raise DataError(f"{folder} has no folder {IMAGES[0]!r}; mmvp:FOLDER must be a download of {HUB_ID}.")
    return {path.stem: f"{found.name}/{path.name}" for path in sorted(found.iterdir()) if path.suffix.lower() != ".txt"}


def _item(row: dict[str, str], folder: Path, files: dict[str, str], origin: str, *, corrected: bool) -> BenchmarkItem:
    index = row["Index"].strip()
    if not index.isdecimal() or len(index) > DIGITS or int(index) < 1:
        raise DataError(f"column 'Index' must be a whole number from 1, got {shown(index)}.")
    number = int(index)
    if str(number) not in files:
        raise DataError(f"there is no picture {number}.jpg in the folder {IMAGES[0]!r}.")
    before, options = split_options(row["Options"])
    if before or len(options) != 2:
        raise DataError(f"column 'Options' must be '(a) ... (b) ...', got {row['Options']!r}.")
    label = CORRECTED.get(number, row["Correct Answer"]) if corrected else row["Correct Answer"]
    return BenchmarkItem(
        benchmark="mmvp",
        id=str(number),
        images=(ImageRoots(folder).image(files[str(number)], origin=origin),),
        question=row["Question"].strip(),
        options=options,
        answer=option_index(label, options),
        task="mmvp",
        group=f"pair {(number + 1) // 2}",
        source=row["Options"].strip(),
    )
