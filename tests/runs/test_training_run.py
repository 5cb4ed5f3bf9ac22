"""A run from start to end, on a few steps: what it returns, writes, refuses, and how it is interrupted and resumed."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, TrainerCallback

import jepa_vlm as jv
from jepa_vlm.errors import DataError, InterruptedRunError, RunError
from jepa_vlm.evaluation import Evaluation
from jepa_vlm.runs import RunResult, data
from jepa_vlm.runs import training_run as module
from jepa_vlm.trajectories.formats import write_jsonl

SMALL = {"steps": 4, "batch_size": 2, "validate_every": 2, "questions": 8}


@pytest.fixture(autouse=True)
def little_data(monkeypatch):
    monkeypatch.setattr(data, "TRAIN", 16)
    monkeypatch.setattr(data, "VALIDATION", 6)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "TRAIN", 16)
        patch.setattr(data, "VALIDATION", 6)
        return jv.train("pearl", output=tmp_path_factory.mktemp("runs") / "a", parameters={"tokens": 2}, **SMALL)


def test_the_result_is_one_json_object_with_terms_and_accuracy(finished):
    held = json.loads(finished.to_json())
    assert {"run", "terms", "accuracy", "export", "report"} <= held.keys()
    assert set(held["terms"]) == {"next_token", "latent_prediction", "next_latent"}
    for when in ("before", "after"):
        scored = held["accuracy"][when]["letter-logits"]
        assert {"value", "n", "low", "high"} <= scored["overall"].keys()
        assert scored["tasks"]["sequential-crops"]["n"] == 8
    assert RunResult.read(Path(finished.run)) == RunResult(**held)


def test_the_folder_holds_what_it_should(finished):
    folder = Path(finished.run)
    for name in ("config.json", "metrics.jsonl", "best", "checkpoints", "export", "report.html", "result.json"):
        assert (folder / name).exists(), name
    config = json.loads((folder / "config.json").read_text())
    assert config["steps"] == {"value": 4, "origin": "user"}
    assert config["learning_rate"]["origin"] == "backbone profile"
    assert config["warmup"]["origin"] == "recipe"
    assert config["workers"]["origin"] == "default"
    assert config["parameter.tokens"] == {"value": 2, "origin": "user"}
    assert config["versions"]["torch"]
    assert len(Evaluation.from_json(folder / "evaluation.json").scored[0].answers) == 8


def test_who_may_read_one_file_may_read_all(finished):
    files = [path for path in Path(finished.run).rglob("*") if path.is_file()]
    assert {"optimizer.pt", "heads.safetensors", "model.safetensors", "tokenizer.json"} <= {p.name for p in files}
    assert len({path.stat().st_mode & 0o777 for path in files}) == 1


def test_plain_peft_and_plain_transformers_read_the_run(finished):
    folder = Path(finished.run)
    plain = PeftModel.from_pretrained(jv.load_backbone("tiny-qwen2.5-vl").model, str(folder / "best"))
    merged = plain.merge_and_unload().state_dict()
    stock = AutoModelForImageTextToText.from_pretrained(folder / "export").state_dict()
    assert merged.keys() == stock.keys()
    assert all(torch.equal(value.half(), stock[name]) for name, value in merged.items())  # as the base is stored


def test_the_folder_of_another_run_is_refused(finished):
    before = Path(finished.run, "config.json").read_text()
    with pytest.raises(RunError, match="holds another run"):
        jv.train("sft", output=finished.run, **SMALL)
    assert Path(finished.run, "config.json").read_text() == before


class Signal(TrainerCallback):
    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 2:
            os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupted_run_says_how_to_go_on_and_then_equals_the_whole(finished, tmp_path, monkeypatch):
    interrupting = module.Progress

    def with_signal(**kwargs):
        monkeypatch.setattr(module, "Progress", interrupting)
        return Signal()

    monkeypatch.setattr(module, "Progress", with_signal)
    asked = {"output": tmp_path / "b", "parameters": {"tokens": 2}, **SMALL}
    with pytest.raises(InterruptedRunError, match=r"after step 3 of 4(.|\n)*resume=True"):
        jv.train("pearl", **asked)
    with pytest.raises(RunError, match="has steps = 4, this command 6"):
        jv.train("pearl", **{**asked, "steps": 6}, resume=True)
    result = jv.train("pearl", **asked, resume=True)
    assert result.terms == finished.terms
    for name in ("adapter_model.safetensors", "heads.safetensors"):
        one, other = (load_file(Path(run) / "best" / name) for run in (result.run, finished.run))
        assert all(value.equal(other[key]) for key, value in one.items())


def test_a_composed_objective_trains_from_a_file_without_questions(tmp_path):
    path = write_jsonl(jv.playground.trajectories("sequential-crops", count=8), tmp_path / "train.jsonl")
    recipe = jv.Recipe(objective=jv.NextToken() + 0.1 * jv.NextLatentRegularizer(), lora=jv.Lora(rank=2, alpha=4))
    result = jv.train(recipe, data=str(path), output=tmp_path / "run", **{**SMALL, "steps": 2, "validate_every": 1})
    assert result.accuracy == {}
    assert set(result.terms) == {"next_token", "next_latent"}


@pytest.mark.slow
def test_cached_targets_are_computed_by_the_first_run_and_read_by_the_next(tmp_path, capsys):
    prediction = jv.LatentPrediction(
        context=jv.ViewEncoder(jv.views.Question(), readout="last_pred"),
        predictor=jv.PredTokenPredictor(tokens=2),
        target=jv.ViewEncoder(jv.views.TrajectoryOnly(), policy=jv.cached(tmp_path / "targets")),
        loss_dropout=0.25,
    )
    recipe = jv.Recipe(objective=jv.NextToken() + prediction, lora=jv.Lora(rank=2, alpha=4))
    path = write_jsonl(jv.playground.trajectories("sequential-crops", count=8), tmp_path / "train.jsonl")
    few = {"data": str(path), "steps": 3, "validate_every": 1, "batch_tokens": 400}
    jv.train(recipe, output=tmp_path / "one", **few)
    said = capsys.readouterr().err
    assert "3 steps of 400 tokens x 1" in said
    assert "computing targets " in said
    before = sorted((p.name, p.stat().st_mtime_ns) for p in (tmp_path / "targets").iterdir())
    jv.train(recipe, output=tmp_path / "two", **few)
    assert "computing targets" not in capsys.readouterr().err
    assert sorted((p.name, p.stat().st_mtime_ns) for p in (tmp_path / "targets").iterdir()) == before
    write_jsonl(jv.playground.trajectories("sequential-crops", count=9), path)
    with pytest.raises(DataError, match="1 of 9 trajectories have no target"):
        jv.train(recipe, output=tmp_path / "three", **few)


@pytest.mark.slow
def test_options_of_the_data_hold_for_questions_and_examples(tmp_path):
    spec = "playground:maze#direct=1,path=1"
    folder = Path(jv.train("sft", data=spec, output=tmp_path / "run", **{**SMALL, "steps": 1}).run)
    dials = {"path": (1, 1)}
    asked = jv.playground.questions("maze", count=8, dials=dials)
    answers = Evaluation.from_json(folder / "evaluation.json").scored[0].answers
    assert [answer.truth for answer in answers] == [item.letters[item.answer] for item in asked]
    experts = jv.playground.trajectories("maze", count=6, split="test", direct_share=0, dials=dials)
    examples = json.loads((folder / "examples.json").read_text())
    assert [example["steps"] for example in examples] == [[s.spoken for s in expert.steps] for expert in experts]


def test_parameters_belong_to_a_recipe_by_name():
    with pytest.raises(ValueError, match="given by name"):
        jv.train(jv.Recipe(objective=jv.NextToken()), parameters={"tokens": 2})


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("jepa-vlm", "recipe", "sft"), "jepa-vlm recipe sft --output runs/sft --resume"),
        (("jepa-vlm", "recipe", "sft", "--output", "x"), "jepa-vlm recipe sft --output x --resume"),
        (("jepa-vlm", "recipe", "sft", "--output=x"), "jepa-vlm recipe sft --output=x --resume"),
        (("jepa-vlm", "recipe", "a b.py", "--resume"), "jepa-vlm recipe 'a b.py' --output runs/sft --resume"),
    ],
)
def test_the_resume_command_is_the_command_and_its_folder(command, expected):
    assert module.resume_command(command, Path("runs/sft")) == expected


def test_several_processes_need_a_folder_by_name(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RunError, match="must agree on a folder"):
        jv.train("sft", **SMALL)
