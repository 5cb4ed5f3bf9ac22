"""A finished evaluation beside Tables 1 to 3 of Pearl (arXiv:2604.08065), with what makes the two comparable or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import final

from jepa_vlm.errors import DataError
from jepa_vlm.evaluation.benchmarks import SIZES
from jepa_vlm.evaluation.results import Accuracy, Evaluation, Scored

COLUMNS = ("V*", "V* attributes", "V* position", "MMVP", "Counting", "IQ", "Jigsaw", "Rel. Ref", "Spatial Rel")

_VSTAR, _BLINK = SIZES["vstar"], SIZES["blink"]
ITEMS = (
    sum(_VSTAR.values()),
    *_VSTAR.values(),
    SIZES["mmvp"]["mmvp"],
    *(_BLINK[name] for name in ("Counting", "IQ_Test", "Jigsaw", "Relative_Reflectance", "Spatial_Relation")),
)

# Table, backbone, method and data, accuracies in percent by column.
_ROWS = """
1 | Qwen2.5-VL-7B | No fine-tuning                 | 78.5 81.7 73.7 66.7 66.7 26.0 52.0 38.8 87.4
1 | Qwen2.5-VL-7B | CoVT                           | 78.0 - - 58.7 - - - - -
1 | Qwen2.5-VL-7B | LVR, 4 steps                   | 80.1 85.2 73.7 72.0 68.3 26.0 51.3 41.0 89.5
1 | Qwen2.5-VL-7B | SFT, LVR data                  | 79.1 82.6 73.7 65.7 67.5 26.7 45.3 33.6 88.8
1 | Qwen2.5-VL-7B | Pearl, LVR data                | 81.5 86.1 74.5 73.5 68.3 28.2 53.1 39.6 89.5
1 | Qwen2.5-VL-7B | SFT, ThinkMorph data           | 42.4 58.3 18.4 36.7 38.3 16.7 22.0 38.8 60.1
1 | Qwen2.5-VL-7B | Pearl, ThinkMorph data         | 73.8 76.5 69.7 75.3 65.0 26.0 53.3 46.3 88.8
1 | Qwen2.5-VL-7B | PixelReasoner                  | 80.1 81.7 77.6 67.0 66.7 25.3 52.7 42.5 88.1
1 | Qwen2.5-VL-7B | Pearl, PixelReasoner data      | 79.1 81.7 75.0 70.0 70.0 28.7 53.3 40.3 89.5
2 | Qwen2.5-VL-3B | No fine-tuning                 | 56.0 53.0 60.5 59.3 65.8 26.0 45.3 44.8 80.4
2 | Qwen2.5-VL-3B | LVR, 4 steps                   | 64.9 69.6 60.5 54.7 - 29.3 52.7 - -
2 | Qwen2.5-VL-3B | Pearl, LVR data                | 73.8 82.6 60.5 68.7 66.7 29.3 51.3 41.8 84.6
2 | Qwen2.5-VL-3B | Pearl, PixelReasoner data      | 69.6 78.3 56.6 63.7 67.5 30.7 49.3 43.3 81.8
2 | Qwen2.5-VL-3B | Pearl, ThinkMorph data         | 62.8 69.6 52.6 60.0 61.7 29.3 43.3 35.1 78.3
2 | Qwen3-VL-4B   | No fine-tuning                 | 81.2 86.1 73.7 75.7 65.8 24.0 68.0 62.7 83.9
2 | Qwen3-VL-4B   | Pearl, LVR data                | 81.7 85.2 76.3 80.0 67.5 27.3 70.0 53.7 85.3
2 | Qwen3-VL-4B   | Pearl, PixelReasoner data      | 79.6 82.6 75.0 77.3 70.8 25.3 68.0 57.5 87.4
2 | Qwen3-VL-4B   | Pearl, ThinkMorph data         | 75.4 81.7 65.8 76.3 66.7 26.7 75.3 66.4 81.8
3 | Qwen2.5-VL-7B | Pearl                          | 81.5 86.1 74.5 73.5 68.3 28.2 53.1 39.6 89.5
3 | Qwen2.5-VL-7B | Pearl without next-latent term | 80.1 83.5 75.0 69.3 65.0 24.0 52.7 42.5 89.5
3 | Qwen2.5-VL-7B | Pearl without both terms       | 79.1 82.6 73.7 65.7 67.5 26.7 45.3 33.6 88.8
"""


@final
@dataclass(frozen=True)
class PaperRow:
    """One row of a table.

    Args:
        table: 1, 2 or 3.
        backbone: The model that was trained.
        method: Training method and data.
        percent: Accuracy in percent, by ``COLUMNS``; None where the paper has a dash.
    """

    table: int
    backbone: str
    method: str
    percent: tuple[float | None, ...]

    @property
    def copied(self) -> bool:
        """Whether the paper took the numbers from another one, so that their protocol is that one's."""
        return self.method == "CoVT"


def is_a_count(percent: float, items: int) -> bool:
    """Say whether some number of right answers, out of ``items``, is this percentage when rounded to one decimal."""
    return any(abs(100 * right / items - percent) <= 0.05 + 1e-9 for right in range(items + 1))


def _row(line: str) -> PaperRow:
    table, backbone, method, numbers = (part.strip() for part in line.split("|"))
    percent = tuple(None if number == "-" else float(number) for number in numbers.split())
    return PaperRow(int(table), backbone, method, percent)


PAPER_TABLES = tuple(_row(line) for line in _ROWS.strip().splitlines())


ABLATION = 3  # the table whose other rows repeat rows of Table 1
PAPERS = "pearl-paper"
PLACES = {  # each column's benchmark and task; None for all tasks
    "V*": ("vstar", None),
    "V* attributes": ("vstar", "direct_attributes"),
    "V* position": ("vstar", "relative_position"),
    "MMVP": ("mmvp", None),
    "Counting": ("blink", "Counting"),
    "IQ": ("blink", "IQ_Test"),
    "Jigsaw": ("blink", "Jigsaw"),
    "Rel. Ref": ("blink", "Relative_Reflectance"),
    "Spatial Rel": ("blink", "Spatial_Relation"),
}


@final
@dataclass(frozen=True)
class Measured:
    """One column of the paper's tables, as it was measured here.

    Args:
        accuracy: Accuracy with its counts and interval.
        protocol: The version of the rules: ``"pearl-paper-1"``.
        scoring: How the letter was read.
        tokens: Most new tokens; 0 where nothing was generated.
        pixels: Least and most pixels of an image; None where the processor has no such limits.
        items: Number of items in the paper's column.
    """

    accuracy: Accuracy
    protocol: str
    scoring: str
    tokens: int
    pixels: tuple[int, int] | None
    items: int


@final
@dataclass(frozen=True)
class BesidePaper:
    """A model's accuracies and the paper's, by column.

    Args:
        measured: Measured accuracy by column; columns that were not measured are missing.
        rows: The paper's rows of the same backbone, or all rows where it has none of it.
        remarks: Reasons against a comparison, a sentence each.
    """

    measured: dict[str, Measured]
    rows: tuple[PaperRow, ...]
    remarks: tuple[str, ...]

    def table(self) -> list[list[str]]:
        """Return lines of cells: titles, the measured line, its intervals, then the paper's rows. The paper's numbers
        that no count of right answers gives are marked by a star.
        """
        columns = list(self.measured)
        found = [one.accuracy for one in self.measured.values()]
        lines = [
            ["", "", *columns],
            ["measured", "", *(f"{100 * one.value:.1f}" for one in found)],
            ["", "95%", *(f"{100 * one.low:.1f}-{100 * one.high:.1f}" for one in found)],
        ]
        return lines + [[row.backbone, row.method, *(_cell(row, name) for name in columns)] for row in self.rows]

    def to_json(self) -> dict[str, object]:
        """Return everything as JSON values, the paper's numbers by column."""
        rows = [
            {
                "table": row.table,
                "backbone": row.backbone,
                "method": row.method,
                "percent": dict(zip(COLUMNS, row.percent, strict=True)),
            }
            for row in self.rows
        ]
        measured = {name: asdict(one) for name, one in self.measured.items()}
        return {"measured": measured, "paper": rows, "remarks": list(self.remarks)}


def beside_paper(evaluations: Sequence[Evaluation]) -> BesidePaper:
    """Return a model's evaluations of V*, MMVP and BLINK beside the paper's rows.

    Args:
        evaluations: Evaluations of one model; other benchmarks are ignored. Each counts with its headline scoring.

    Raises:
        DataError: If none is of a benchmark of the paper, two are of the same one, or they are of several models.
    """
    known = {benchmark for benchmark, _ in PLACES.values()}
    by_name: dict[str, Evaluation] = {}
    for one in evaluations:
        name = one.benchmark.partition(":")[0]
        if name in by_name:
            raise DataError(f"Two evaluations are of {name}; the paper's tables have one number for each, give one.")
        if name in known:
            by_name[name] = one
    if not by_name:
        given = ", ".join(one.benchmark for one in evaluations) or "none"
        raise DataError(f"The paper's tables hold {', '.join(sorted(known))}; got {given}. Evaluate on one of them.")
    backbones = sorted({one.backbone for one in by_name.values()})
    if len(backbones) > 1:
        raise DataError(f"The evaluations must be of one model, got {', '.join(backbones)}.")
    measured = {}
    for (column, (benchmark, task)), items in zip(PLACES.items(), ITEMS, strict=True):
        if benchmark in by_name and (found := _measured(by_name[benchmark].scored[0], task, items)) is not None:
            measured[column] = found
    rows = _rows(backbones[0])
    return BesidePaper(measured, rows, tuple(_remarks(measured, rows, backbones[0])))


def _measured(scored: Scored, task: str | None, items: int) -> Measured | None:
    accuracy = scored.overall if task is None else scored.tasks.get(task)
    if accuracy is None:
        return None
    rules = scored.protocol
    low, high = rules.min_pixels, rules.max_pixels
    pixels = None if low is None or high is None else (low, high)
    return Measured(accuracy, rules.name, rules.scoring, rules.max_new_tokens, pixels, items)


def _rows(backbone: str) -> tuple[PaperRow, ...]:
    tables = [row for row in PAPER_TABLES if row.table != ABLATION or "next-latent" in row.method]
    same = [row for row in tables if row.backbone.lower() in backbone.lower()]
    return tuple(same or tables)


def _remarks(measured: dict[str, Measured], rows: Sequence[PaperRow], backbone: str) -> list[str]:
    found = []
    if all(row.backbone.lower() not in backbone.lower() for row in rows):
        found.append(f"The paper has no row of {backbone}; all of its rows are shown.")
    if short := [f"{name} {m.accuracy.n} of {m.items}" for name, m in measured.items() if m.accuracy.n != m.items]:
        found.append(f"Not the published items: {', '.join(short)}.")
    rules = sorted({f"{m.protocol} ({m.scoring}, {m.tokens} tokens)" for m in measured.values()})
    if other := [one for one in rules if not one.startswith(PAPERS)]:
        found.append(f"Measured under {', '.join(other)}; the paper's protocol is letters only, at most 4 tokens.")
    budgets = sorted(
        {"no limit" if m.pixels is None else f"{m.pixels[0]:,} to {m.pixels[1]:,}" for m in measured.values()}
    )
    found.append(f"Pixels of an image: {', '.join(budgets)} here; the paper does not state its resolution.")
    found.append(
        "The paper states neither its prompt, nor seeds, nor intervals; a star marks what is no count of items."
    )
    return found


def _cell(row: PaperRow, column: str) -> str:
    place = COLUMNS.index(column)
    number = row.percent[place]
    return "" if number is None else f"{number:.1f}{'' if is_a_count(number, ITEMS[place]) else '*'}"
