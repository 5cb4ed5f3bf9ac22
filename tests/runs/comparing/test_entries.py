from __future__ import annotations

import json

import pytest

from jepa_vlm.errors import RecipeError, RunError, UnknownNameError
from jepa_vlm.runs.comparing.entries import read_arms


def finished(folder, *, recipe="pearl", seed=0, **values):
    """A folder with what a finished run says of itself."""
    named = {"recipe": recipe, "seed": seed, "data": "playground:maze", "steps": 4, "workers": seed, **values}
    config = {name: {"value": value, "origin": "user"} for name, value in named.items()}
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config | {"objective": "NextToken()"}))
    (folder / "result.json").write_text("{}")
    return folder


def test_recipes_with_parameters_data_and_names():
    arms = read_arms(["sft", "pearl:next_latent=0,tokens=8", "direct=sft@playground:maze#direct=1"], data=["jsonl:a"])
    assert [arm.name for arm in arms] == ["sft", "pearl:next_latent=0,tokens=8", "direct"]
    assert [arm.data for arm in arms] == ["jsonl:a", "jsonl:a", "playground:maze#direct=1"]
    assert arms[1].parameters == {"next_latent": "0", "tokens": "8"}
    assert arms[2].recipe == "sft"


def test_every_entry_trains_on_every_data_set():
    arms = read_arms(["sft", "pearl"], data=["jsonl:a", "jsonl:b"])
    assert [arm.name for arm in arms] == ["sft on jsonl:a", "sft on jsonl:b", "pearl on jsonl:a", "pearl on jsonl:b"]
    assert [arm.entry for arm in arms] == ["sft", "sft", "pearl", "pearl"]


def test_a_file_is_called_by_its_stem(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def recipe(*, tokens: int = 4): ...")
    (arm,) = read_arms([f"{path}:tokens=2"], data=[])
    assert (arm.name, arm.recipe, arm.parameters) == ("mine:tokens=2", str(path), {"tokens": "2"})


def test_finished_runs_of_one_recipe_are_its_seeds(tmp_path):
    runs = [finished(tmp_path / str(seed), seed=seed, **{"parameter.tokens": 2}) for seed in (0, 3)]
    sft, given = read_arms(["sft", *map(str, runs)], data=["jsonl:a", "jsonl:b"])[1:]
    assert sft.name == "sft on jsonl:b"
    assert (given.name, given.data, given.runs) == ("pearl:tokens=2", "playground:maze", {0: runs[0], 3: runs[1]})


@pytest.mark.parametrize(
    ("more", "message"),
    [({}, "both be seed 0"), ({"seed": 1, "steps": 9}, "differs from the other runs of 'pearl' in steps")],
)
def test_runs_that_are_no_seeds_of_one_another_are_refused(tmp_path, more, message):
    one, other = finished(tmp_path / "a"), finished(tmp_path / "b", **more)
    with pytest.raises(RunError, match=message):
        read_arms([str(one), str(other)], data=[])
    assert [arm.name for arm in read_arms([str(one), f"other={other}"], data=[])] == ["pearl", "other"]


@pytest.mark.parametrize(
    ("content", "message"),
    [('{"model_type": "qwen2_5_vl"}', "is no run but a model; give it as --backbone"), ("{", "is not JSON")],
)
def test_a_folder_that_is_no_run_is_named_for_what_it_is(tmp_path, content, message):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(RunError, match=message):
        read_arms([str(tmp_path)], data=[])


def test_a_run_that_has_not_ended_is_refused(tmp_path):
    (finished(tmp_path / "a") / "result.json").unlink()
    with pytest.raises(RunError, match="has not ended"):
        read_arms([str(tmp_path / "a")], data=[])


@pytest.mark.parametrize(
    ("entries", "error", "message"),
    [
        (["perl"], UnknownNameError, "Did you mean 'pearl'"),
        (["pearl:token=2"], UnknownNameError, "Did you mean 'tokens'"),
        (["pearl:tokens"], RecipeError, "KEY=VALUE"),
        (["sft", "sft"], RecipeError, "Two rows would be called 'sft'"),
        (["untrained=sft"], RecipeError, "'untrained'"),
        ([], RecipeError, "at least one entry"),
    ],
)
def test_refusals(entries, error, message):
    with pytest.raises(error, match=message):
        read_arms(entries, data=[])


def test_folders_of_different_names_differ_and_stay_inside():
    one, other = read_arms(["a b=sft", "a+b=pearl:tokens=2"], data=[])
    assert one.slug.startswith("a-b-")
    assert other.slug == "a+b"
    (odd,) = read_arms(["sft@jsonl:../../x"], data=[])
    assert "/" not in odd.slug
