from __future__ import annotations

import json

import pytest

from jepa_vlm.errors import DataError
from jepa_vlm.evaluation import Accuracy, Evaluation, Protocol, Scored, beside_paper
from jepa_vlm.evaluation.beside_paper import COLUMNS, PLACES


def share(correct, n):
    return Accuracy(value=correct / n, correct=correct, n=n, low=0.7, high=0.9, chance=0.25)


def evaluation(benchmark, overall, tasks=None, *, backbone="Qwen/Qwen2.5-VL-7B-Instruct", name="pearl-paper-1"):
    rules = Protocol(scoring="short", max_new_tokens=4, min_pixels=3136, max_pixels=12_845_056, name=name)
    scored = Scored(protocol=rules, answers=(), overall=overall, tasks=tasks or {}, parse_failure_rate=0.0)
    return Evaluation(benchmark, backbone, 0, (scored,), {}, None)


VSTAR = evaluation(
    "vstar:DATA", share(150, 191), {"direct_attributes": share(94, 115), "relative_position": share(56, 76)}
)


def test_every_column_has_its_place():
    assert tuple(PLACES) == COLUMNS


def test_the_rows_of_the_same_backbone_stand_beside_what_was_measured():
    found = beside_paper([VSTAR, evaluation("mmvp:DATA#labels=corrected", share(200, 300))])
    assert {row.backbone for row in found.rows} == {"Qwen2.5-VL-7B"}
    assert [row.method for row in found.rows].count("Pearl, LVR data") == 1
    assert found.table()[:4] == [
        ["", "", "V*", "V* attributes", "V* position", "MMVP"],
        ["measured", "", "78.5", "81.7", "73.7", "66.7"],
        ["", "95%", "70.0-90.0", "70.0-90.0", "70.0-90.0", "70.0-90.0"],
        ["Qwen2.5-VL-7B", "No fine-tuning", "78.5", "81.7", "73.7", "66.7"],
    ]
    assert ["Qwen2.5-VL-7B", "CoVT", "78.0", "", "", "58.7"] in found.table()
    assert ["Qwen2.5-VL-7B", "Pearl, LVR data", "81.5*", "86.1", "74.5*", "73.5*"] in found.table()
    assert found.measured["V*"].protocol == "pearl-paper-1"
    assert found.measured["V*"].pixels == (3136, 12_845_056)
    said = " ".join(found.remarks)
    assert "3,136 to 12,845,056 here; the paper does not state its resolution" in said
    assert "Measured under" not in said
    assert "Not the published items" not in said
    assert json.loads(json.dumps(found.to_json()))["paper"][0]["percent"]["MMVP"] == 66.7


def test_what_stands_against_a_comparison_is_said():
    found = beside_paper([evaluation("blink:B", share(3, 9), {"Counting": share(2, 6)}, backbone="mine", name="lvr-1")])
    assert list(found.measured) == ["Counting"]
    assert {row.backbone for row in found.rows} == {"Qwen2.5-VL-7B", "Qwen2.5-VL-3B", "Qwen3-VL-4B"}
    assert len(found.rows) == 9 + 9 + 1
    said = " ".join(found.remarks)
    assert "The paper has no row of mine" in said
    assert "Counting 6 of 120" in said
    assert "Measured under lvr-1 (short, 4 tokens)" in said


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([evaluation("playground", share(1, 2))], "hold blink, mmvp, vstar; got playground"),
        ([], "got none"),
        ([VSTAR, VSTAR], "Two evaluations are of vstar"),
        ([VSTAR, evaluation("mmvp:D", share(1, 2), backbone="other")], "of one model, got Qwen"),
    ],
)
def test_refusals(given, message):
    with pytest.raises(DataError, match=message):
        beside_paper(given)
