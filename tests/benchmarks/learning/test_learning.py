"""The comparison from start to end, on random weights and two steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.learning import run
from benchmarks.learning.arms import Setting, cells
from benchmarks.learning.page import markdown
from benchmarks.learning.results import gather
from jepa_vlm.errors import UnknownNameError
from jepa_vlm.runs import data

pytestmark = pytest.mark.slow  # it trains
RANDOM = "tiny-random-qwen2.5-vl"
SMALL = Setting(backbone=RANDOM, steps=2, batch_size=2, count=8, latents=8, dials="objects=5")
NAMES = {"regimes": ["one-tool-one-call"], "arms": ["pearl", "direct"], "seeds": [0]}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    work = tmp_path_factory.mktemp("learning")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "TRAIN", 16)
        patch.setattr(data, "VALIDATION", 6)
        planned = list(cells(SMALL, **NAMES, work=work))
        assert list(run.run_all(planned)) == planned
    return work, planned, gather(planned, command=["python", "-m", "benchmarks.learning", "--steps", "2"])


def test_every_configuration_answers_the_same_questions(done):
    _, planned, results = done
    assert [cell.arm for cell in planned] == [None, "pearl", "direct"]
    base = results["base"]["one-tool-one-call"]
    assert base["images"]["all"]["n"] == base["blanks"]["all"]["n"] == 8
    assert set(base["images"]) == {"all", "visual-search", "relative-position"}
    for one in results["runs"]:
        test = one["against_base"]
        assert test["n"] == one["images"]["all"]["n"] == 8
        assert one["images"]["all"]["correct"] - base["images"]["all"]["correct"] == test["only_a"] - test["only_b"]
        gain = results["summary"]["one-tool-one-call"]["all"]["arms"][one["arm"]]["gain"]
        assert gain["value"] == pytest.approx(test["difference"])


def test_configurations_differ_in_recipe_and_data_alone(done):
    pearl, direct = done[2]["runs"]
    assert (pearl["data"], direct["data"]) == (
        "playground:one-tool-one-call#objects=5",
        "playground:one-tool-one-call#objects=5,direct=1",
    )
    assert (pearl["config"]["recipe"], direct["config"]["recipe"]) == ("pearl", "sft")
    assert {**pearl["config"], "recipe": "sft"} == direct["config"]
    assert pearl["config"]["questions"] == 0
    assert set(pearl["latents"]) == {"latent_prediction"}
    assert pearl["latents"]["latent_prediction"]["any"]["n"] == 8
    assert direct["latents"] == {}


def test_the_page_is_made_of_the_json_alone(done):
    results = done[2]
    page = markdown(json.loads(json.dumps(results, allow_nan=False)))
    assert page == markdown(results)
    assert "python -m benchmarks.learning --steps 2" in page
    pearl = results["summary"]["one-tool-one-call"]["all"]["arms"]["pearl"]
    assert f"| one-tool-one-call | pearl | {pearl['mean']:.1%} | – |" in page
    for title in ("Between arms", "By task", "blanked pictures", "another example's trajectory"):
        assert f"## {title}" in page or f"## Control: {title}" in page
    tables = [line.count("|") for line in page.splitlines() if line.startswith("| one-tool")]
    assert min(tables) > 3


def test_the_committed_page_is_that_of_the_committed_json():
    committed = Path(__file__).resolve().parents[3] / "docs" / "results" / "tiny_learning.json"
    held = json.loads(committed.read_text(encoding="utf-8"))
    assert markdown(held) == committed.with_suffix(".md").read_text(encoding="utf-8")


def test_finished_runs_are_reused(done, monkeypatch):
    work, planned, results = done
    monkeypatch.setattr(run, "train", None)
    monkeypatch.setattr(run, "evaluate", None)
    again = list(cells(SMALL, **NAMES, work=work))
    assert again == planned
    assert all(map(run.finished, again))
    assert gather(list(run.run_all(again)), command=results["command"]) == results


def test_other_questions_do_not_train_again_and_other_settings_do(done):
    work, planned, _ = done
    asked = cells(Setting(**{**vars(SMALL), "split": "test"}), **NAMES, work=work)
    longer = cells(Setting(**{**vars(SMALL), "steps": 3}), **NAMES, work=work)
    for cell, test, long in zip(planned, asked, longer, strict=True):
        assert test.folder == cell.folder
        assert test.answers != cell.answers
        assert (long.folder == cell.folder) is (cell.arm is None)


def test_wrong_names_and_numbers_are_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="No arm named 'perl'"):
        list(cells(SMALL, **{**NAMES, "arms": ["perl"]}, work=tmp_path))
    with pytest.raises(UnknownNameError, match="No regime named 'maze'"):
        list(cells(SMALL, **{**NAMES, "regimes": ["maze"]}, work=tmp_path))
    with pytest.raises(ValueError, match="split must be validation or test"):
        Setting(split="train")
    with pytest.raises(ValueError, match="at least 2"):
        Setting(count=1)
