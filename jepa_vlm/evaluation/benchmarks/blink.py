"""BLINK: fourteen perception tasks with one to four images each (Fu et al., arXiv:2404.12390).

``blink:FOLDER`` is a download of BLINK-Benchmark/BLINK: one folder for each subset with val-00000-of-00001.parquet,
whose rows have idx, question, image_1 ... image_4, choices, answer "(A)" and prompt. The answers of the test split are
hidden, so only val is read. The default is the five subsets that Pearl reports on; ``blink:FOLDER#subsets=all`` takes
all fourteen, ``subsets=Counting+Jigsaw`` some of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jepa_vlm.errors import DataError, UnknownNameError, missing_extra
from jepa_vlm.evaluation.benchmarks.benchmark import BENCHMARKS, PAPER_SUBSETS, SIZES, folder_of, parse_source
from jepa_vlm.evaluation.item import BenchmarkItem, drawn, option_index
from jepa_vlm.trajectories.formats.images import ImageRoots
from jepa_vlm.trajectories.json_values import checked, field

FILES = "val-*.parquet"
IMAGES = ("image_1", "image_2", "image_3", "image_4")
COLUMNS = ("idx", "question", *IMAGES, "choices", "answer", "prompt")
HUB_ID = "BLINK-Benchmark/BLINK"


@BENCHMARKS.register("blink")
def blink_questions(argument: str, *, count: int | None, seed: int) -> list[BenchmarkItem]:
    """Return the questions of the subsets, one subset after the other.

    Raises:
        DataError: If a file is missing, or a row is not what it must be; the message begins with file and row.
        UnknownNameError: If there is no such subset.
        JepaVLMError: If pyarrow is not installed.
    """
    spec = parse_source("blink", argument, hub_id=HUB_ID, options=("subsets",))
    subsets = _subsets(spec.options.get("subsets", "paper"))
    folder = folder_of(spec, patterns=[f"{subset}/{FILES}" for subset in subsets])
    items = [item for subset in subsets for item in _read(folder, subset)]
    return drawn(items, count, seed)


def _subsets(asked: str) -> tuple[str, ...]:
    if asked in ("paper", "all"):
        return PAPER_SUBSETS if asked == "paper" else tuple(SIZES["blink"])
    named = tuple(dict.fromkeys(asked.split("+")))
    for subset in named:
        if subset not in SIZES["blink"]:
            raise UnknownNameError("BLINK subset", subset, known=SIZES["blink"], hint="Or 'all', or 'paper'.")
    return named


def _read(folder: Path, subset: str) -> Iterator[BenchmarkItem]:
    paths = sorted((folder / subset).glob(FILES))
    if not paths:
        raise DataError(f"{folder / subset} has no {FILES}; blink:FOLDER must be a download of {HUB_ID}.")
    for path in paths:
        for number, row in enumerate(_rows(path), start=1):
            try:
                yield _item(row, subset, path.parent, f"{path}:{number}")
            except DataError as err:
                raise DataError(f"{path}:{number}: {err}") from None


def _rows(path: Path) -> list[dict[str, object]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise missing_extra("pyarrow", "eval", "Reading BLINK") from None
    try:
        file = parquet.ParquetFile(path)
        missing = [column for column in COLUMNS if column not in file.schema_arrow.names]
        if missing:
            raise DataError(f"{path} lacks the columns {', '.join(missing)}; it must have {', '.join(COLUMNS)}.")
        found: list[dict[str, object]] = file.read(columns=list(COLUMNS)).to_pylist()
    except (OSError, ValueError, ArrowException) as err:  # a text of broken bytes is a ValueError
        raise DataError(f"{path} cannot be read as parquet ({err}); download it again.") from None
    return found


def _item(row: dict[str, object], subset: str, folder: Path, origin: str) -> BenchmarkItem:
    given = [row[name] for name in IMAGES if row[name] is not None]
    if not given:
        raise DataError("a row needs at least one image, but image_1 to image_4 are all empty.")
    options = tuple(checked(choice, str, "a choice") for choice in field(row, "choices", list))
    if len(options) < 2:
        raise DataError(f"key 'choices' must hold at least 2 options, got {len(options)}.")
    return BenchmarkItem(
        benchmark="blink",
        id=field(row, "idx", str),
        images=tuple(ImageRoots(folder).image(checked(image, dict, "an image"), origin=origin) for image in given),
        question=field(row, "question", str),
        options=options,
        answer=option_index(field(row, "answer", str), options),
        task=subset,
        source=field(row, "prompt", str),
    )
