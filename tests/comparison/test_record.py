"""The record of a small comparison, worked by hand."""

from __future__ import annotations

import json

import pytest

from jepa_vlm.comparison import Answered, accuracy_record, holm, over_seeds_and_items
from jepa_vlm.evaluation import mcnemar_exact, wilson_interval
from tests.comparison.evaluations import evaluation

BASE, SFT, PEARL = (
    [1, 0, 0, 1, 0, 1],
    [[1, 1, 0, 1, 0, 0], [1, 1, 0, 1, 1, 0]],
    [[1, 1, 1, 1, 0, 1], [1, 1, 1, 1, 1, 1]],
)
AGAINST_SFT = {"untrained": "sft", "sft": None, "pearl": "sft"}
TASKS = ["a", "a", "b", "b", "b", "b"]


def models(*, seeds=2):
    found = [Answered("untrained", None, {"maze": evaluation(BASE, tasks=TASKS)})]
    for arm, rows in (("sft", SFT), ("pearl", PEARL)):
        found += [Answered(arm, s, {"maze": evaluation(rows[s], tasks=TASKS)}) for s in range(seeds)]
    return found


def test_means_spreads_and_the_best():
    found = accuracy_record(models(), AGAINST_SFT)["accuracy"]["maze"][""]
    sft = found["sft"]
    assert (sft["mean"], sft["checkpoints"], sft["n"]) == (pytest.approx(7 / 12), 2, 6)
    assert sft["std"] == pytest.approx(0.5**0.5 / 6)
    assert (sft["low"], sft["high"]) == tuple(wilson_interval(4, 6))  # 3.5 right of 6, rounded
    assert [arm for arm, one in found.items() if one["best"]] == ["pearl"]
    assert (found["untrained"]["std"], found["untrained"]["checkpoints"]) == (None, 1)


def test_every_task_has_its_means():
    record = accuracy_record(models(), AGAINST_SFT)
    assert record["columns"] == [
        {"benchmark": "maze", "n": 6, "chance": 0.25, "tasks": {"a": 2, "b": 4}, "published": {}}
    ]
    by_task = record["accuracy"]["maze"]
    assert by_task["a"]["sft"]["mean"] == 1.0
    assert by_task["b"]["sft"]["mean"] == pytest.approx(3 / 8)
    assert by_task["a"]["sft"]["against"] is None


def test_several_seeds_are_tested_over_seeds_and_items():
    found = accuracy_record(models(), AGAINST_SFT)["accuracy"]["maze"][""]["pearl"]["against"]
    test = over_seeds_and_items(PEARL, SFT)
    assert (found["test"], found["pairs"], found["baseline"]) == ("seeds and items", 2, "sft")
    assert (found["value"], found["p_value"]) == (pytest.approx(4 / 12), float(test.p_value))
    assert found["detectable"] > 0.5  # two seeds find next to nothing
    assert "only_first" not in found
    assert -1 <= found["low"] < found["value"] < found["high"] <= 1


def test_seeds_that_never_differ_leave_nothing_to_detect():
    record = accuracy_record(models(), {**AGAINST_SFT, "pearl": None, "untrained": None, "sft": "sft"})
    found = record["accuracy"]["maze"][""]["sft"]["against"]
    assert (found["value"], found["p_value"], found["detectable"]) == (0.0, 1.0, None)


def test_two_checkpoints_are_tested_by_mcnemar():
    record = accuracy_record(models(seeds=1), AGAINST_SFT)
    found = record["accuracy"]["maze"][""]["pearl"]["against"]
    assert (found["test"], found["only_first"], found["only_second"]) == ("exact McNemar", 2, 0)
    assert found["p_value"] == mcnemar_exact([bool(m) for m in PEARL[0]], [bool(m) for m in SFT[0]]).p_value == 0.5
    assert found["value"] == pytest.approx(2 / 6)


def test_holms_correction_is_over_all_differences_of_the_table():
    record = accuracy_record(models(seeds=1), AGAINST_SFT)
    found = [one["against"] for one in record["accuracy"]["maze"][""].values() if one["against"]]
    assert record["family"] == 2
    assert [one["p_holm"] for one in found] == holm([one["p_value"] for one in found])


def test_every_checkpoint_is_held_against_that_of_the_same_seed():
    runs = accuracy_record(models(), AGAINST_SFT)["runs"]
    assert [(run["arm"], run["seed"]) for run in runs] == [
        ("untrained", None), ("sft", 0), ("sft", 1), ("pearl", 0), ("pearl", 1),
    ]  # fmt: skip
    assert runs[4]["against"]["maze"] == {"seed": 1, "only_first": 2, "only_second": 0, "p_value": 0.5}
    assert runs[0]["against"] == {} == runs[1]["against"]  # two baselines, and none
    assert runs[3]["accuracy"]["maze"][""]["correct"] == 5


def test_a_baseline_without_seeds_goes_with_every_seed():
    record = accuracy_record(models(), {"untrained": None, "sft": "untrained", "pearl": "untrained"})
    found = record["accuracy"]["maze"][""]["sft"]["against"]
    assert (found["pairs"], found["value"]) == (2, pytest.approx(1 / 12))
    assert record["runs"][1]["against"]["maze"]["seed"] is None


def test_seeds_that_one_side_lacks_are_left_out_and_none_in_common_is_no_difference():
    few = [model for model in models() if (model.arm, model.seed) != ("sft", 0)]
    assert accuracy_record(few, AGAINST_SFT)["accuracy"]["maze"][""]["pearl"]["against"]["pairs"] == 1
    none = [model for model in few if (model.arm, model.seed) != ("pearl", 1)]
    assert accuracy_record(none, AGAINST_SFT)["accuracy"]["maze"][""]["pearl"]["against"] is None


def test_the_record_is_plain_data():
    record = accuracy_record(models(), AGAINST_SFT)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
