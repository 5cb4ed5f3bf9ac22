"""What is counted of an arm: against the collator, and against counting the same steps by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import jepa_vlm as jv
from jepa_vlm.cost import FlopCounter
from jepa_vlm.runs.comparing import facts as module
from jepa_vlm.runs.comparing.facts import ArmFacts, Cost, measure_cost, measure_facts, settings_again
from jepa_vlm.runs.plan import plan_run
from jepa_vlm.runs.settings import RunSettings
from jepa_vlm.training.order import Passes
from jepa_vlm.training.run_config import RunConfig
from jepa_vlm.trajectories.formats import write_jsonl


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "train.jsonl"
    write_jsonl(jv.playground.trajectories("sequential-crops", count=6), path)
    given = {"data": str(path), "backbone": "tiny-random-qwen2.5-vl", "steps": 3, "batch_size": 2, "accumulation": 2}
    return lambda recipe, **parameters: (recipe, RunSettings(parameters=parameters, **given))


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(module, "COUNTED", 4)


def test_a_trajectory_costs_what_the_runs_own_first_micro_batches_do(asked, tmp_path):
    measure_facts(*asked("pearl", tokens=2), tmp_path / "facts.json")
    found = json.loads((tmp_path / "facts.json").read_text())
    plan = plan_run(*asked("pearl", tokens=2))
    passes = Passes(examples=plan.train.kept, seed=0)
    shown = [plan.train.kept[passes.at(i)] for i in range(4)]
    collate = plan.model.collator()
    plan.model.train()
    with FlopCounter() as counter:
        for start in (0, 2):
            plan.model(collate(shown[start : start + 2])).total.backward()
    cost = found["cost"]
    assert cost["trajectories"] == 4
    assert cost["flops"] == counter.total / 4
    assert cost["tokens"] == sum(collate.tokens(shown)) / 4
    assert cost["step_memory"] > 0
    assert (found["per_step"], found["values"]["steps"], found["inference"]) == (4, 3, "plain")
    assert ArmFacts.read(tmp_path / "facts.json").cost == Cost(**cost)
    assert list(found["terms"]) == ["next_token", "latent_prediction", "next_latent"]
    assert found["terms"]["next_token"].startswith("1 * NextToken(")


@pytest.mark.slow
def test_pearl_costs_its_slots_and_its_targets_more_than_sft(asked, tmp_path):
    costs = {}
    for recipe in ("sft", "pearl"):
        measure_facts(*asked(recipe), tmp_path / "facts.json")
        costs[recipe] = json.loads((tmp_path / "facts.json").read_text())["cost"]
    assert costs["pearl"]["flops"] > costs["sft"]["flops"]
    assert costs["pearl"]["tokens"] > costs["sft"]["tokens"] + 4


def test_a_finished_run_is_planned_again_or_its_cost_is_missing(asked, tmp_path):
    config = RunConfig(tmp_path, plan_run(*asked("pearl", tokens=2)).config())
    again = settings_again(config)
    assert (again.parameters, again.steps, again.batch_size) == ({"tokens": 2}, 3, 2)
    assert plan_run("pearl", again).config()["terms"] == ArmFacts.of(config).terms
    gone = {**config.record, "data": {"value": str(tmp_path / "gone.jsonl"), "origin": "user"}}
    measure_cost(RunConfig(tmp_path, gone), tmp_path / "facts.json")
    found = json.loads((tmp_path / "facts.json").read_text())
    assert found["cost"] is None
    assert "gone.jsonl" in found["cost_missing"]
    assert found["terms"] == ArmFacts.of(config).terms


def test_micro_batches_that_are_cut_by_tokens_are_counted_as_they_are_cut(asked):
    recipe, settings = asked("sft")
    plan = plan_run(recipe, replace(settings, batch_size=None, batch_tokens=450))
    found = ArmFacts.of(RunConfig(Path(), json.loads(json.dumps(plan.config()))))
    passes = Passes(examples=plan.train.kept, seed=0)
    lengths = [plan.decoded[passes.at(i)] for i in range(passes.pass_length)]
    sizes, room = [], 0
    for length in lengths:
        if length > room:
            sizes, room = [*sizes, 0], 450
        sizes[-1], room = sizes[-1] + 1, room - length
    assert len(set(sizes)) > 1 or sizes[0] != plan["batch_size"], "the case does not tell the two apart"
    assert found.per_step == pytest.approx(2 * len(lengths) / len(sizes))
    micro_batches = list(module._micro_batches(plan))
    shown = [len(one.trajectories) for one in micro_batches]
    assert shown == sizes[: len(shown)]
    assert sum(shown) >= min(4, len(lengths) - max(sizes))
