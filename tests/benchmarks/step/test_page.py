from __future__ import annotations

import re
from copy import deepcopy

import pytest

from benchmarks.step.page import step_markdown, tables, write_step_page
from jepa_vlm.report.page import si
from tests.benchmarks.step.records import record
from tests.pages import EVIL, Page


def counted_only():
    """A record of the meta device."""
    found = deepcopy(record())
    found["machine"] = {"kind": "meta", "cpu": "a processor", "threads": 1}
    found["calls"][0]["ceilings"], found["crossover"] = None, []
    for name, one in found["cases"][0]["variants"].items():
        found["cases"][0]["variants"][name] = {key: one[key] for key in ("failure", "counted") if key in one}
    return found


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (39.154e12, "FLOP", "39.2 TFLOP"), (1.5e9, "B", "1.50 GB"), (123456, "", "123 k"), (0.4186, "s", "419 ms"),
        (2.3e-6, "s", "2.30 µs"), (-0.00737, "s", "-7.37 ms"), (0, "s", "0 s"), (1e-9, "s", "1e-09 s"),
        (5, "s", "5.00 s"),
    ],
)  # fmt: skip
def test_numbers_with_prefixes(value, unit, text):
    assert si(value, unit) == text


def test_a_page_holds_every_table_and_figure(tmp_path):
    path = tmp_path / "step.html"
    write_step_page([record(), counted_only()], path)
    found = Page(path)
    found.check_self_contained()
    assert found.text.count("<svg") == 3 + 2  # ratios and phases of both, the crossover of one
    titles = [table.title for one in (record(), counted_only()) for table in tables(one)]
    assert len(titles) == 4 + 1 + 1
    for title in titles:
        assert title in found.text
    assert "out of memory" in found.text
    assert "python -m benchmarks.step --shape 3b" in found.text


def test_a_note_stands_on_the_page_and_in_the_markdown_once(tmp_path):
    noted = record()
    noted["calls"] = [{**noted["calls"][0], "note": "another job ran"}] * 2
    write_step_page([noted], tmp_path / "step.html")
    assert Page(tmp_path / "step.html").text.count("another job ran") == 1
    assert step_markdown([noted]).count("another job ran") == 1


def test_names_are_escaped(tmp_path):
    bad = record()
    bad["machine"]["gpu"] = EVIL
    path = tmp_path / "step.html"
    write_step_page([bad], path)
    Page(path).check_self_contained()
    assert EVIL not in path.read_text(encoding="utf-8")


def test_the_markdown_has_the_same_tables(tmp_path):
    text = step_markdown([record(), counted_only()])
    assert text.count("### ") == 6
    rows = [line for line in text.splitlines() if line.startswith("| pearl |")]
    assert "| 1.12 ± 0.00 |" in next(row for row in rows if "ms" in row)  # 0.45 / 0.4
    widths = [len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("|")]
    assert min(widths) >= 8
    write_step_page([record()], tmp_path / "step.html")
    assert (tmp_path / "step.md").read_text(encoding="utf-8").startswith("# What a training step costs\n")


def test_a_step_that_failed_has_its_row():
    for table in tables(record())[:2]:
        (row,) = [row for row in table.rows if row[0] == "pearl_released"]
        assert row[1] == "out of memory"
        assert len(row) == len(table.head)
