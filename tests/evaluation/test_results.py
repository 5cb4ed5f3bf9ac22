from __future__ import annotations

import json

import pytest

from jepa_vlm.errors import DataError
from jepa_vlm.evaluation import Evaluation


def test_evaluation_results_are_read_back_as_they_were_written(evaluation, tmp_path):
    path = tmp_path / "folder" / "evaluation.json"
    made = evaluation("110")
    made.to_json(path)
    assert Evaluation.from_json(path) == made
    assert [entry.name for entry in path.parent.iterdir()] == ["evaluation.json"]


def test_an_evaluation_file_holds_protocol_scores_and_answers(evaluation, tmp_path):
    path = tmp_path / "evaluation.json"
    evaluation("110").to_json(path)
    held = json.loads(path.read_text())
    assert held["scored"][0]["protocol"]["name"] == "jepa-vlm-2"
    assert held["scored"][0]["answers"][2] == {
        "id": "item-2",
        "task": "search",
        "truth": "A",
        "predicted": "B",
        "correct": False,
        "text": "",
        "parse_failed": False,
    }


def test_a_failed_write_leaves_the_old_evaluation_file(evaluation, tmp_path, monkeypatch):
    path = tmp_path / "evaluation.json"
    evaluation("110").to_json(path)
    old = path.read_text()
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        evaluation("000").to_json(path)
    assert path.read_text() == old
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "other"}', '{"format": "jepa-vlm-evaluation-1"}'])
def test_a_file_that_is_no_evaluation_is_refused(tmp_path, text):
    path = tmp_path / "evaluation.json"
    path.write_text(text)
    with pytest.raises(DataError, match="is not an evaluation"):
        Evaluation.from_json(path)


def test_a_folder_in_place_of_an_evaluation_file_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read .*directory"):
        Evaluation.from_json(tmp_path)


def test_a_missing_evaluation_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.json does not exist"):
        Evaluation.from_json(tmp_path / "gone.json")


def test_the_summary_of_an_evaluation_has_no_answers(evaluation):
    summary = evaluation("110").summary()
    assert summary["letter-logits"]["tasks"]["search"]["correct"] == 2
    assert "answers" not in summary["letter-logits"]
