"""Tables 1 to 3 of Pearl (arXiv:2604.08065) as data: what a reproduction is held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from jepa_vlm.evaluation.benchmarks import SIZES

COLUMNS = ("V*", "V* attributes", "V* position", "MMVP", "Counting", "IQ", "Jigsaw", "Rel. Ref", "Spatial Rel")

_VSTAR, _BLINK = SIZES["vstar"], SIZES["blink"]
ITEMS = (
    sum(_VSTAR.values()),
    *_VSTAR.values(),
    SIZES["mmvp"]["mmvp"],
    *(_BLINK[name] for name in ("Counting", "IQ_Test", "Jigsaw", "Relative_Reflectance", "Spatial_Relation")),
)

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
        method: What was done to it, and on which data.
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
