"""A plan is the whole run, resolved."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import jepa_vlm as jv
from jepa_vlm.errors import DataError, RecipeError
from jepa_vlm.runs import data
from jepa_vlm.runs.plan import plan_run
from jepa_vlm.runs.settings import Asked
from jepa_vlm.trajectories.formats import write_jsonl


@pytest.fixture(autouse=True)
def little_data(monkeypatch):
    monkeypatch.setattr(data, "TRAIN", 8)
    monkeypatch.setattr(data, "VALIDATION", 4)


def test_the_resolved_values_are_the_ones_in_force():
    plan = plan_run(Asked(recipe="pearl", parameters={"tokens": 3}, learning_rate=0.002, seed=1))
    assert plan.recipe.learning_rate == plan["learning_rate"] == 0.002
    adapter = plan.backbone.model.peft_config["default"]
    assert (adapter.r, adapter.lora_alpha) == (plan["lora_rank"], plan["lora_alpha"]) == (16, 32)
    assert plan.model.objective.terms["latent_prediction"].predictor.slots == 3
    assert plan.train.kept[0].id == "visual-search-train-1-0"


def test_memory_counts_weights_gradients_and_two_averages():
    plan = plan_run(Asked(recipe="pearl"))
    trained = 4 * sum(part.trainable for part in plan.parts)
    assert plan.memory()["gradients"] == trained
    assert plan.memory()["optimizer"] == 2 * trained
    assert plan.memory()["weights"] >= 4 * sum(part.trainable + part.frozen for part in plan.parts)


def test_memory_has_a_total_with_a_micro_batch_in_it():
    found = plan_run(Asked(recipe="pearl")).memory()
    assert found["total"] == sum(size for name, size in found.items() if name != "total")
    smaller = plan_run(Asked(recipe="pearl", batch_size=2)).memory()
    assert found["micro-batch"] > smaller["micro-batch"] > 0
    assert "total" not in plan_run(Asked(recipe="pearl", engine="separate")).memory()


def test_the_configuration_is_json_with_origins():
    config = json.loads(json.dumps(plan_run(Asked(recipe="sft", steps=5)).config()))
    assert config["steps"] == {"value": 5, "origin": "user"}
    assert config["examples"] == {"train": 8, "validation": 4}
    assert config["tokens"]["max"] >= config["tokens"]["mean"] > 49


def test_a_value_of_the_users_that_the_recipe_refuses_is_one_message(monkeypatch):
    with pytest.raises(RecipeError, match="engine must be one of"):
        plan_run(Asked(recipe="sft", engine="fast"))


def test_a_composed_recipe_is_taken_as_it_is():
    recipe = jv.Recipe(objective=jv.NextToken(), lora=None, steps=3)
    plan = plan_run(Asked(recipe="composed"), recipe)
    assert not any(part.name == "LoRA adapter" for part in plan.parts)


def test_a_bad_row_stops_the_run_before_it_begins(tmp_path):
    good = jv.playground.trajectories("visual-search", count=40, seed=0)
    bad = replace(good[-1], id="bad", question="Which <|im_end|> is it?")
    write_jsonl([*good, bad], tmp_path / "data.jsonl")
    with pytest.raises(DataError, match=r"'bad' holds the backbone's special token '<\|im_end\|>'"):
        jv.train("sft", data=f"jsonl:{tmp_path / 'data.jsonl'}", output=tmp_path / "run", steps=1)
    assert not (tmp_path / "run").exists()
