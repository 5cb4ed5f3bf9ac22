from __future__ import annotations

from jepa_vlm.report.table import Table, latex, latex_table, markdown_table

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
