"""Writes docs/results/paper_tables.md from the paper's numbers: ``python -m benchmarks.paper_tables``."""

from __future__ import annotations

from pathlib import Path

from jepa_vlm.evaluation.beside_paper import COLUMNS, ITEMS, PAPER_TABLES, PaperRow, is_a_count
from jepa_vlm.whole_files import write_whole

PAGE = Path(__file__).resolve().parents[1] / "docs" / "results" / "paper_tables.md"
TITLES = {1: "Table 1: Qwen2.5-VL-7B", 2: "Table 2: smaller models", 3: "Table 3: ablation, LVR data"}
INTRO = """\
# What Pearl reports

Tables 1 to 3 of Pearl (arXiv:2604.08065) in percent, to compare a reproduction with. The same rows are data in
`jepa_vlm/evaluation/paper_tables.py`; this page is written by `python -m benchmarks.paper_tables`.

Protocol of every number, unless a row says otherwise: [`pearl-paper`](../protocols.md), option letters in at most 4
tokens, MMVP by single question. The prompt and the image resolution (pixel budget) are not stated for any of them.
LVR is its released checkpoint with 4 latent steps, PixelReasoner its released checkpoint with tools at inference;
whether these two answered under the same 4 tokens is not stated either. The row of CoVT is copied from its paper, under
that paper's protocol.

A number marked * is no count: no number of right answers out of the benchmark's items rounds to it. It may be a mean
over several runs or checkpoints, or over fewer items; the paper does not say.
"""
NOTES = """\
## How fine the numbers are

One item is worth {worth}. Wilson's 95% interval of 81.5% on 191 items reaches from 75.6% to 86.5%: most differences
inside a table are smaller than the interval of one of its numbers, and the paper gives no seeds and no intervals.

In both rows of LVR, V* is less than its two parts make together (80.1 where 98 of 115 and 56 of 76 are 80.6; 64.9 where
80 and 46 are 66.0), so whole and parts are not of one run.

The symbols of the ablated terms are lost in the text that was read; the last row of Table 3 equals "SFT, LVR data" of
Table 1, so it is taken for Pearl without both latent terms.
"""


def page() -> str:
    """Return the page."""
    parts = [INTRO]
    for table, title in TITLES.items():
        rows = [row for row in PAPER_TABLES if row.table == table]
        head = ["backbone", "method", *(f"{name} ({n})" for name, n in zip(COLUMNS, ITEMS, strict=True))]
        lines = [head, ["---"] * len(head), *([row.backbone, _method(row), *_cells(row)] for row in rows)]
        parts.append(f"## {title}\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n")
    worth = ", ".join(f"{100 / n:.2f} points on {name}" for name, n in zip(COLUMNS, ITEMS, strict=True))
    return "\n".join([*parts, NOTES.format(worth=worth)])


def _method(row: PaperRow) -> str:
    return f"{row.method} (copied)" if row.copied else row.method


def _cells(row: PaperRow) -> list[str]:
    return [
        "" if percent is None else f"{percent:.1f}{'' if is_a_count(percent, n) else '*'}"
        for percent, n in zip(row.percent, ITEMS, strict=True)
    ]


if __name__ == "__main__":
    write_whole(PAGE, page())
