"""A run of all four stages on a few steps: what is computed when, saved, read back and asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import jepa_vlm as jv
from jepa_vlm.runs import data
from jepa_vlm.training.checkpoint import answering_of


@pytest.mark.slow
def test_all_stages_share_their_heads_and_the_answers_are_read_from_what_is_written(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(data, "TRAIN", 32)
    monkeypatch.setattr(data, "VALIDATION", 8)  # so many that each has another of its kind
    small = {"steps": 8, "batch_size": 2, "validate_every": 4, "questions": 4}
    result = jv.train("covt", output=tmp_path / "run", parameters={"stages": "all"}, **small)
    recipe = jv.load_recipe("covt", stages="all")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    trained = [set(row["terms"]) for row in rows if row["kind"] == "train"]
    assert [set(stage.terms) for stage in recipe.stages] == list(map(set, dict.fromkeys(map(frozenset, trained))))
    assert set(result.terms) == set(recipe.objective.weights)
    experts = ("segmentation", "depth", "edges")
    shuffled = result.monitors["expert_distillation"]["best"]
    sides = ("matched_loss", "shuffled_loss", "compared")
    assert set(shuffled) == {f"{side}_{name}" for side in sides for name in experts}
    assert all(term["last"] != term["first"] for term in result.terms.values())
    for when in ("before", "after"):
        assert next(iter(result.accuracy[when])) == "free"
        assert set(result.accuracy[when]["free"]["opening_use"]) == {"whole", "some"}
    for folder in ("best", "export"):
        assert answering_of(tmp_path / "run" / folder) == recipe.answering
