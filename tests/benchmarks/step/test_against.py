"""Planted changes are reported, unchanged runs are not, and what cannot be compared is said."""

from __future__ import annotations

from copy import deepcopy

import pytest

from benchmarks.step.records import compare_records
from jepa_vlm.errors import JepaVLMError
from tests.benchmarks.step.records import record, spread, variant


def changed(**times):
    new = deepcopy(record())
    for name, factor in times.items():
        seconds = new["cases"][0]["variants"][name]["timed"]["seconds"]
        for key in ("median", "low", "high"):
            seconds[key] *= factor
    return new


def test_an_unchanged_run_reports_no_change():
    found = compare_records(record(), record())
    assert found.movements == ()
    assert found.notes == ()
    assert found.compared == 2 * (4 + 1) + 1  # per timed step four counts and a time; one step's allocator


@pytest.mark.parametrize("factor", [1.04, 0.96])
def test_changes_within_five_percent_are_not_reported(factor):
    assert compare_records(changed(pearl=factor), record()).movements == ()


def test_a_planted_slowdown_of_a_fifth_is_reported():
    found = compare_records(changed(pearl=1.2), record())
    (moved,) = found.regressions
    assert (moved.variant, moved.figure) == ("pearl", "seconds")
    assert moved.change == pytest.approx(0.2)
    assert moved.case == "lvr, checkpointing off, 4 examples"


@pytest.fixture
def with_stock():
    """Two records of a quiet hour and of one at which everything takes 1.3 times as long, the stock step among it."""
    records = []
    for pace in (1.0, 1.3):
        found = changed(sft=pace, pearl=pace)
        variants = found["cases"][0]["variants"]
        variants["sft_stock"] = variant(0.5 * pace, flops=42_000)
        for name, seconds in (("sft", 0.4), ("pearl", 0.45), ("sft_stock", 0.5)):
            variants[name]["timed"]["over"]["sft_stock"] = spread(seconds / 0.5)
        records.append(found)
    return records


def test_a_machine_of_another_speed_changes_no_verdict_and_is_noted(with_stock):
    old, new = with_stock
    found = compare_records(new, old)
    assert found.movements == ()
    assert found.notes == ("lvr, checkpointing off, 4 examples: sft_stock took 1.30 times as long as before",)
    assert compare_records(old, old).notes == ()
    assert found.compared == 3 * 4 + 2 + 1  # the stock step's own time is the measure of the others


def test_a_planted_slowdown_is_reported_on_a_machine_of_another_speed(with_stock):
    old, new = with_stock
    for key in ("median", "low", "high"):
        new["cases"][0]["variants"]["pearl"]["timed"]["over"]["sft_stock"][key] *= 1.2
    (moved,) = compare_records(new, old).regressions
    assert (moved.variant, moved.figure) == ("pearl", "time / sft_stock")
    assert moved.change == pytest.approx(0.2)


def test_equal_changes_are_listed_in_the_order_of_the_record():
    names = ["sft", "pearl", "lvr", "a", "b", "c", "d", "e"]
    old, new = record(), record()
    for held, seconds in ((old, 1.0), (new, 2.0)):
        held["cases"][0]["variants"] = {name: variant(seconds, flops=1000) for name in names}
    assert [moved.variant for moved in compare_records(new, old).movements] == names


def test_a_speedup_is_reported_and_is_no_regression():
    found = compare_records(changed(sft=0.8), record())
    assert [moved.worse for moved in found.movements] == [False]
    assert found.regressions == ()


def test_a_slowdown_within_the_noise_is_not_reported():
    """20% slower, but the medians are known to 10% each: 0.2 is less than 3 x 0.1 x sqrt(2)."""
    old, new = record(), changed(pearl=1.2)
    for one in (old, new):
        one["cases"][0]["variants"]["pearl"]["timed"]["seconds"]["error"] = 0.1 * 0.45
    assert compare_records(new, old).movements == ()


@pytest.mark.parametrize(
    ("figure", "quiet", "loud"), [("total_flops", 1.001, 1.003), ("saved", 1.009, 1.02), ("peak", 1.009, 1.02)]
)
def test_counted_figures_have_narrow_bounds(figure, quiet, loud):
    for factor, reported in ((quiet, False), (loud, True)):
        new = record()
        new["cases"][0]["variants"]["pearl"]["counted"][figure] *= factor
        assert [moved.figure for moved in compare_records(new, record()).regressions] == [figure] * reported


def test_a_step_that_now_fails_is_a_regression_and_one_that_no_longer_does_is_not():
    healthy = record()
    healthy["cases"][0]["variants"]["pearl_released"] = healthy["cases"][0]["variants"]["sft"]
    assert [m.figure for m in compare_records(record(), healthy).regressions] == ["completion"]
    found = compare_records(healthy, record())
    assert [(m.figure, m.worse) for m in found.movements] == [("completion", False)]


def test_times_of_another_machine_are_not_compared():
    new = changed(pearl=2.0)
    new["machine"]["gpu"] = "another GPU"
    new["cases"][0]["variants"]["pearl"]["counted"]["total_flops"] *= 2
    found = compare_records(new, record())
    assert [moved.figure for moved in found.movements] == ["total_flops"]
    assert found.notes == ("times are not compared: measured on another GPU, 1 threads, before on a GPU, 1 threads",)


def test_cases_missing_on_either_side_are_listed():
    new, old = record(), record()
    del new["cases"][0]["variants"]["sft"]
    new["cases"].append({**new["cases"][0], "mix": "thinkmorph"})
    old["cases"].append({**old["cases"][0], "checkpointing": True})
    new["versions"]["torch"] = "2.14.0"
    assert compare_records(new, old).notes == (
        "torch is 2.14.0, before 2.13.0",
        "lvr, checkpointing off, 4 examples: sft was not measured now",
        "thinkmorph, checkpointing off, 4 examples was not measured before",
        "lvr, checkpointing on, 4 examples was not measured now",
    )


def test_other_settings_and_nothing_in_common_are_refused():
    new = record()
    new["config"]["shape"] = "7b"
    with pytest.raises(JepaVLMError, match="shape is '7b' now and '3b' before"):
        compare_records(new, record())
    new = record()
    new["cases"][0]["mix"] = "thinkmorph"
    with pytest.raises(JepaVLMError, match="no figure in common"):
        compare_records(new, record())
