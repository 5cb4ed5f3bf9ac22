"""Numbers and tables as text, and pages that are written whole."""

from __future__ import annotations

import sys

import pytest

from jepa_vlm.errors import JepaVLMError
from jepa_vlm.report.figures import Curve, Panel, panels_svg
from jepa_vlm.report.page import (
    Table,
    latex,
    latex_table,
    markdown_table,
    number,
    percent,
    readable,
    signed,
    write_page,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.123456, "0.1235"), (12345.6, "1.235e+04"), (3, "3"), (True, "True"), (float("inf"), "not finite"), ("a", "a")],
)
def test_numbers(value, text):
    assert number(value) == text


def test_lists_are_cut_and_counted():
    assert readable([]) == "none"
    assert readable(None) == "not set"
    assert readable(["a", {"name": "lora", "size": 0.5}]) == "a\nname=lora, size=0.5"
    assert readable(list(range(1200))).splitlines()[-2:] == ["9", "… 1,200 in all"]


def test_shares_and_differences():
    assert percent(0.12345) == "12.3%"
    assert signed(0.5) == "+0.5"
    assert signed(-0.00012345) == "-0.000123"
    assert signed(float("nan")) == "not finite"


def test_missing_packages_are_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(JepaVLMError, match=r"pip install 'jepa-vlm\[report\]'"):
        write_page("run.html", tmp_path / "x.html", {})
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(JepaVLMError, match="needs matplotlib"):
        panels_svg([Panel("x", [Curve("a", [1], [1.0], "#000000")])], name="x")


TABLE = Table("Cost & more", ("", "a|b"), (("x_1", "50%"), ("y", "<b>")), "A note.", frozenset({(1, 1)}))


def test_markdown_keeps_cells_cells_and_marks_the_best():
    lines = markdown_table(TABLE).split("\n")
    assert lines[2:] == [
        r"|  | a\|b |",
        "| --- | ---: |",
        "| x_1 | 50% |",
        "| y | **&lt;b>** |",
        "",
        "A note.",
    ]


def test_latex_prints_what_it_reads():
    assert latex(r"50% of x_1 & \y {z} ± 1") == r"50\% of x\_1 \& \textbackslash{}y \{z\} $\pm$ 1"
    made = latex_table(TABLE)
    assert r"\begin{tabular}{lr}" in made
    assert r"y & \textbf{\textless{}b\textgreater{}} \\" in made
    assert r"\caption{Cost \& more. A note.}" in made


def test_a_row_never_becomes_an_argument_of_the_line_before_it():
    made = latex_table(Table("T", ("", "a"), (("[2ex] x", "1"), ("*", "2"), ("y", "[3]")))).split("\n")
    rows = made[made.index(r"\midrule") + 1 : made.index(r"\bottomrule")]
    assert rows == [r"{}[2ex] x & 1 \\", r"{}* & 2 \\", r"y & [3] \\"]
