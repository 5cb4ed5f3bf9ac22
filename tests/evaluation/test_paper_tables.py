from __future__ import annotations

from benchmarks.paper_tables import PAGE, page
from jepa_vlm.evaluation.beside_paper import COLUMNS, ITEMS, PAPER_TABLES, is_a_count


def test_every_row_has_a_number_or_a_gap_in_every_column():
    assert [sum(row.table == table for row in PAPER_TABLES) for table in (1, 2, 3)] == [9, 9, 3]
    assert {len(row.percent) for row in PAPER_TABLES} == {len(COLUMNS)} == {len(ITEMS)}
    assert ITEMS == (191, 115, 76, 300, 120, 150, 150, 134, 143)
    assert all(0 < number < 100 for row in PAPER_TABLES for number in row.percent if number is not None)


def test_v_star_is_made_of_its_parts_but_for_the_rows_of_lvr():
    """Catches a slipped digit: V* counts 115 items of attributes and 76 of position."""
    apart = set()
    for row in PAPER_TABLES:
        whole, attributes, position = row.percent[:3]
        if attributes is not None and abs((115 * attributes + 76 * position) / 191 - whole) > 0.11:
            apart.add((row.table, row.method))
    assert apart == {(1, "LVR, 4 steps"), (2, "LVR, 4 steps")}


def test_one_row_holds_numbers_that_are_no_counts():
    odd = {
        (row.method, name)
        for row in PAPER_TABLES
        for name, percent, n in zip(COLUMNS, row.percent, ITEMS, strict=True)
        if percent is not None and not is_a_count(percent, n)
    }
    columns = ("V*", "V* position", "MMVP", "IQ", "Jigsaw")
    assert odd == {(method, name) for method in ("Pearl", "Pearl, LVR data") for name in columns}


def test_the_ablation_repeats_two_rows_of_table_1():
    by_name = {(row.table, row.method): row.percent for row in PAPER_TABLES}
    assert by_name[3, "Pearl"] == by_name[1, "Pearl, LVR data"]
    assert by_name[3, "Pearl without both terms"] == by_name[1, "SFT, LVR data"]


def test_the_page_is_the_data():
    assert PAGE.read_text(encoding="utf-8") == page()
