from __future__ import annotations

import pytest

from jepa_vlm.report.comparison_tables import comparison_tables, rows_of_csv
from tests.report.comparison_records import comparison


def tables(record):
    return {table.title: table for table in comparison_tables(record)}


def test_every_comparison_table_exists_and_is_rectangular():
    found = tables(comparison())
    assert list(found) == [
        "Accuracy",
        "Differences to the baseline, in points",
        "Ablation of pearl",
        "Cost of training, of one run",
        "Cost of an answer",
        "By task: one-tool-one-call",
        "Every checkpoint",
    ]
    for table in found.values():
        assert {len(row) for row in table.rows} == {len(table.head)}


def test_the_best_of_every_column_is_bold_and_it_alone():
    record = comparison()
    table = tables(record)["Accuracy"]
    for j, column in enumerate(record["columns"], start=1):
        means = [one["mean"] for one in record["accuracy"][column["benchmark"]][""].values()]
        best = [i for i, mean in enumerate(means) if mean == max(means)]
        assert [i for i in range(3) if (i, j) in table.bold] == best


def test_table_cells_hold_the_values_of_the_record():
    record = comparison()
    one = record["accuracy"]["playground:maze"][""]["pearl"]
    row = tables(record)["Accuracy"].rows[2]
    assert row[1] == (
        f"{100 * one['mean']:.1f} ± {100 * one['std']:.1f} [{100 * one['low']:.1f}, {100 * one['high']:.1f}]"
    )
    assert tables(record)["Accuracy"].head[3] == "vstar (n = 60)"
    against = one["against"]
    rows = {row[0]: row for row in tables(record)["Differences to the baseline, in points"].rows}
    row = rows["maze: pearl − sft"]
    assert (row[1], row[5], row[6]) == (
        f"{100 * against['value']:+.1f}",
        "seeds and items, 2",
        f"{against['p_value']:.2g}",
    )
    assert (row[7], row[8]) == (f"{against['p_holm']:.2g}", f"{100 * against['detectable']:.1f}")


def test_two_checkpoints_show_what_one_alone_got_right():
    record = comparison(seeds=1)
    against = record["accuracy"]["playground:maze"][""]["pearl"]["against"]
    rows = {row[0]: row for row in tables(record)["Differences to the baseline, in points"].rows}
    assert rows["maze: pearl − sft"][4:6] == (f"{against['only_first']} / {against['only_second']}", "exact McNemar, 1")
    assert "±" not in tables(record)["Accuracy"].rows[2][1]


def test_costs_name_the_machine_and_leave_out_what_was_not_measured():
    found = tables(comparison())
    training, answering = found["Cost of training, of one run"], found["Cost of an answer"]
    assert training.rows[1] == (
        "pearl", "500", "4,000", "1,000,000", "3.00 TFLOP", "1.00", "190", "900 MB", "30.0 MB", "600,000",
    )  # fmt: skip
    assert "Some CPU, 1 thread; 2 at a time" in training.note
    assert [row[3] for row in answering.rows] == ["20.0 ms", "–", "–"]


def test_an_ablation_says_what_is_left_out():
    rows = tables(comparison())["Ablation of pearl"].rows
    assert [row[:2] for row in rows] == [("pearl", "–"), ("sft", "next_latent")]


def test_one_configuration_without_a_baseline_has_no_differences():
    record = comparison(names=("sft",))
    record["accuracy"] = {
        benchmark: {
            task: {arm: {**one, "against": None} for arm, one in arms.items()} for task, arms in by_task.items()
        }
        for benchmark, by_task in record["accuracy"].items()
    }
    assert "Differences to the baseline, in points" not in tables(record)


def test_the_csv_has_a_row_for_each_checkpoint_benchmark_and_task():
    record = comparison()
    titles, *rows = rows_of_csv(record)
    assert {len(row) for row in rows} == {len(titles)}
    assert len(rows) == 5 * (1 + 3 + 1)  # 5 checkpoints; one of the three benchmarks has two tasks beside all items
    named = [dict(zip(titles, row, strict=True)) for row in rows]
    (one,) = [r for r in named if (r["arm"], r["seed"], r["benchmark"]) == ("pearl", 1, "playground:maze")]
    assert (
        one["accuracy"]
        == one["correct"] / one["n"]
        == pytest.approx(record["runs"][4]["accuracy"]["playground:maze"][""]["value"])
    )
    assert (one["steps"], one["task"]) == (500, "")
