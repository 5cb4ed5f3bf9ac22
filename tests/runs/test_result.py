"""A result's numbers, taken from the rows of metrics.jsonl."""

from __future__ import annotations

import json

import pytest

from jepa_vlm.errors import RunError
from jepa_vlm.runs.folder import RunResult, held_out_monitors, held_out_terms


def row(step, raw, cosine):
    terms = {"a": {"raw": raw, "weighted": 0.2 * raw, "count": 4}}
    return {"kind": "validation", "step": step, "terms": terms, "monitors": {"a": {"matched_cosine": cosine}}}


ROWS = [row(0, 5.0, 0.1), {"kind": "train", "step": 1, "terms": {}}, row(2, 3.0, 0.4), row(4, 4.0, 0.5)]


def test_terms_before_at_the_best_step_and_at_the_end():
    assert held_out_terms(ROWS, 2) == {"a": {"first": 5.0, "best": 3.0, "last": 4.0, "weighted_best": 0.2 * 3.0}}


def test_monitors_before_and_at_the_best_step():
    assert held_out_monitors(ROWS, 2) == {"a": {"first": {"matched_cosine": 0.1}, "best": {"matched_cosine": 0.4}}}


def test_a_result_comes_back_from_its_file(tmp_path):
    result = RunResult("runs/a", held_out_terms(ROWS, 2), {}, {}, 2, "runs/a/export", None, 1.5)
    result.write(tmp_path)
    assert RunResult.read(tmp_path) == result
    assert json.loads(result.to_json())["run"] == "runs/a"


def test_metrics_that_lack_a_validation_are_refused():
    with pytest.raises(RunError, match="lacks the validation of step 0 or 3"):
        held_out_terms(ROWS, 3)
