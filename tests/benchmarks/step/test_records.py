from __future__ import annotations

import json
from copy import deepcopy

import pytest

from benchmarks.step.records import case_key, merge_records, read_record
from jepa_vlm.errors import JepaVLMError
from tests.benchmarks.step.records import record


@pytest.mark.parametrize("text", ["{", "[]", "{}", json.dumps({**record(), "schema": 0})])
def test_a_file_that_is_no_record_is_one_message(text, tmp_path):
    path = tmp_path / "record.json"
    with pytest.raises(JepaVLMError, match="There is no record"):
        read_record(path)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(JepaVLMError, match=r"record of `python -m benchmarks\.step`"):
        read_record(path)


def test_a_record_is_read_back_as_it_was(tmp_path):
    path = tmp_path / "record.json"
    path.write_text(json.dumps(record()), encoding="utf-8")
    assert read_record(path) == record()


def test_cases_of_several_calls_stand_in_one_record():
    old, new = record(), deepcopy(record())
    new["cases"][0]["mix"] = new["crossover"][0]["mix"] = "thinkmorph"
    new["calls"][0]["command"].append("--add")
    found = merge_records(old, new)
    assert [case["mix"] for case in found["cases"]] == ["lvr", "thinkmorph"]
    assert [row["mix"] for row in found["crossover"]] == ["lvr", "thinkmorph"]
    assert [len(call["command"]) for call in found["calls"]] == [5, 6]


def test_a_case_that_is_there_already_is_replaced():
    new = record()
    new["cases"][0]["variants"]["sft"]["timed"]["seconds"]["median"] = 9.0
    found = merge_records(record(), new)
    assert len(found["cases"]) == len(found["crossover"]) == 1
    assert found["cases"][0]["variants"]["sft"]["timed"]["seconds"]["median"] == 9.0


@pytest.mark.parametrize("part", ["machine", "versions", "commit", "config"])
def test_other_machines_and_other_code_are_refused(part):
    new = record()
    new[part] = "another" if part == "commit" else {**new[part], "seed": 1}
    with pytest.raises(JepaVLMError, match=f"{part} is .* Write to another --output"):
        merge_records(record(), new)


def test_cases_of_a_record_are_identified_by_their_settings():
    (case,) = record()["cases"]
    keys = {case_key({**case, **other}) for other in ({}, {"mix": "x"}, {"checkpointing": True}, {"examples": 1})}
    assert len(keys) == 4
