"""The record of a folder that was written by hand: who is held against whom, what things cost, what must be said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jepa_vlm.evaluation import file_stem
from jepa_vlm.report.comparison_page import write_comparison
from jepa_vlm.runs import RunResult
from jepa_vlm.runs.comparing.answers import SPENT, AnswerSettings, has_answers
from jepa_vlm.runs.comparing.entries import CompareFolder, read_arms
from jepa_vlm.runs.comparing.facts import ArmFacts, Cost
from jepa_vlm.runs.comparing.gather import Gathered, gather
from jepa_vlm.runs.settings import CompareSettings
from jepa_vlm.whole_files import write_whole
from tests.comparison.evaluations import evaluation

MAZE = "playground:maze"
ASKING = AnswerSettings(benchmarks=[MAZE], count=4)
MACHINE = {"kind": "cpu", "cpu": "Some CPU", "threads": 1}
MARKS = {"untrained": [0, 0, 0, 1], "sft": [1, 0, 0, 1], "pearl": [1, 1, 1, 1]}


def facts(terms, *, flops=100.0):
    cost = Cost(trajectories=32, tokens=50.0, flops=flops, step_memory=7)
    values = {"steps": 10, "rank": 64, "seed": 0, "recipe": terms[-1], "parameter.tokens": 4}
    return ArmFacts(
        values=values,
        terms={name: f"1 * {name}" for name in terms},
        inference="plain",
        examples={"train": 8, "validation": 2},
        trained=5,
        per_step=8,
        cost=cost,
    )


def answers(folder, marks, *, seconds=2.0, tokens=0):
    place = folder / ASKING.folder(MAZE)
    evaluation(marks).to_json(place / f"{file_stem(MAZE)}.json")
    spent = {"items": 4, "seconds": seconds, "tokens": tokens, "scoring": "letter-logits", "machine": MACHINE}
    write_whole(place / SPENT, json.dumps({**spent, "notes": []}))


def run(folder: Path, *, seconds: float, peak: int, commit: str = "a"):
    write_whole(folder / "config.json", json.dumps({"commit": commit, "versions": {}}))
    held = {"machine": MACHINE, "peak_memory": peak, "memory": "process"}
    RunResult(str(folder), {}, {}, {}, 10, "", None, seconds, held).write(folder)


@pytest.fixture
def made(tmp_path):
    def build(*entries, seeds=2, data=(), baseline="sft", commits=("a", "a")):
        settings = CompareSettings(entries=entries, seeds=seeds, data=data, on=(MAZE,), output=tmp_path)
        folder, arms = CompareFolder(path=tmp_path), read_arms(entries, data=data)
        answers(folder.answers(None, None), MARKS["untrained"], seconds=None)
        for place, arm in enumerate(arms):
            for seed in range(seeds):
                run(folder.run(arm, seed), seconds=100.0 + seed, peak=1000 + seed, commit=commits[seed])
                answers(folder.answers(arm, seed), MARKS["sft" if place == 0 else "pearl"], tokens=8)
        terms = [["next_token"], ["next_token", "next_latent"], ["next_token"], ["next_token", "next_latent"]]
        return Gathered(
            settings=settings,
            arms=arms,
            models=[(None, None), *((arm, seed) for arm in arms for seed in range(seeds))],
            folder=folder,
            answer_settings=ASKING,
            facts={
                arm.name: facts(own, flops=100.0 + i) for i, (arm, own) in enumerate(zip(arms, terms, strict=False))
            },
            steps={arm.name: 10 - i for i, arm in enumerate(arms)},
            baseline=baseline,
            backbone="tiny-qwen2.5-vl",
            jobs=2,
        )

    return build


def test_everything_is_held_against_the_baseline(made):
    record = gather(made("sft", "pearl"))
    assert [(arm["name"], arm["baseline"], arm["seeds"]) for arm in record["arms"]] == [
        ("untrained", "sft", []), ("sft", None, [0, 1]), ("pearl", "sft", [0, 1]),
    ]  # fmt: skip
    assert record["accuracy"][MAZE][""]["pearl"]["against"]["value"] == 0.5
    assert record["ablations"] == [{"full": "pearl", "rows": [{"arm": "sft", "without": ["next_latent"]}]}]


def test_costs_are_those_of_a_run_and_of_an_answer(made):
    cost = gather(made("sft", "pearl"))["cost"]
    pearl = cost["pearl"]
    assert (pearl["steps"], pearl["trajectories"], pearl["tokens"], pearl["flops"]) == (9, 72, 3600, 7272)
    assert (pearl["seconds"], pearl["peak_memory"], pearl["step_memory"]) == ([100.0, 101.0], 1001, 7)
    assert pearl["inference"] == {"scoring": ["letter-logits"], "tokens": 2.0, "seconds": 0.5}
    assert cost["untrained"] == {"inference": {"scoring": ["letter-logits"], "tokens": 0.0, "seconds": None}}


def test_every_data_set_has_its_own_baseline(made):
    arms = gather(made("sft", "pearl", data=("jsonl:a", "jsonl:b"), seeds=1))["arms"]
    assert {arm["name"]: arm["baseline"] for arm in arms} == {
        "untrained": None,  # two baselines are none
        "sft on jsonl:a": None,
        "sft on jsonl:b": None,
        "pearl on jsonl:a": "sft on jsonl:a",
        "pearl on jsonl:b": "sft on jsonl:b",
    }


def test_the_untrained_backbone_can_be_the_baseline(made):
    record = gather(made("sft", "pearl", baseline="untrained"))
    assert [arm["baseline"] for arm in record["arms"]] == [None, "untrained", "untrained"]
    assert record["runs"][1]["against"][MAZE]["seed"] is None


def test_runs_of_different_commits_are_pointed_out(made):
    assert gather(made("sft"))["notes"] == []
    assert gather(made("sft", commits=("a", "b")))["notes"] == ["Runs were made by 2 commits; see their config.json."]


def test_the_record_is_plain_and_can_be_drawn(made, tmp_path):
    record = gather(made("sft", "pearl"))
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert len(write_comparison(record, tmp_path / "comparison.json")) == 5


def test_answers_are_there_only_for_the_questions_that_were_asked(made):
    folder = made("sft").folder
    assert has_answers(ASKING, folder.answers(None, None))
    for other in ({"count": 5}, {"seed": 1}, {"scoring": "short"}, {"benchmarks": [MAZE, "playground:jigsaw"]}):
        answer_settings = AnswerSettings(**{"benchmarks": [MAZE], "count": 4, **other})
        assert not has_answers(answer_settings, folder.answers(None, None))
    assert has_answers(
        AnswerSettings(benchmarks=[MAZE], count=4, protocol="lvr"), folder.answers(None, None)
    )  # of files alone
