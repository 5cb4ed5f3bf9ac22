"""Data specs, and the rule by which a file is split."""

from __future__ import annotations

import pytest

import jepa_vlm as jv
from jepa_vlm.errors import DataError, UnknownNameError
from jepa_vlm.evaluation import load_benchmark
from jepa_vlm.runs import data
from jepa_vlm.runs.data import drawn_or_read, file_digests, first_trajectories, held_out_trajectories, load_data
from jepa_vlm.trajectories.formats import write_jsonl
from tests.trajectories.formats.files import make_root, write_example


def test_a_file_is_split_without_overlap(tmp_path):
    path = write_jsonl(jv.playground.trajectories("visual-search", count=24), tmp_path / "train.jsonl")
    for spec in (str(path), f"jsonl:{path}"):
        loaded = load_data(spec)
        train, validation = ({t.id for t in part} for part in (loaded.train, loaded.validation))
        assert (len(train), len(validation)) == (23, 1)
        assert not train & validation
        assert loaded.benchmark is None
        assert loaded.digests == file_digests(spec) != {}


def test_a_file_with_one_trajectory_is_refused(tmp_path):
    path = write_jsonl(jv.playground.trajectories("visual-search", count=1), tmp_path / "one.jsonl")
    with pytest.raises(DataError, match="one to train on and one to hold out"):
        load_data(str(path))


def test_the_playground_brings_held_out_scenes_and_questions(monkeypatch):
    monkeypatch.setattr(data, "TRAIN", 6)
    monkeypatch.setattr(data, "VALIDATION", 3)
    loaded = load_data("playground:maze", seed=4)
    assert [t.id for t in loaded.train] == [f"maze-train-4-{i}" for i in range(6)]
    assert [t.id for t in loaded.validation] == [f"maze-validation-4-{i}" for i in range(3)]
    assert loaded.benchmark == "playground:maze"


def test_options_reach_training_validation_and_questions(monkeypatch):
    monkeypatch.setattr(data, "TRAIN", 4)
    monkeypatch.setattr(data, "VALIDATION", 2)
    spec = "playground:visual-search#direct=1,objects=5"
    loaded, dials = load_data(spec), {"objects": (5, 5)}
    assert all(t.calls == 0 for t in (*loaded.train, *loaded.validation))

    def pixels(items):
        return [item.images[0].load().tobytes() for item in items]

    for made, count, split in ((loaded.train, 4, "train"), (loaded.validation, 2, "validation")):
        same = jv.playground.trajectories("visual-search", count=count, split=split, dials=dials)
        assert pixels(made) == pixels(same)
    asked = load_benchmark(loaded.benchmark, count=3)
    assert pixels(asked) == pixels(jv.playground.questions("visual-search", count=3, dials=dials))
    assert pixels(asked) != pixels(load_benchmark("playground:visual-search", count=3))
    assert all(t.calls == 0 for t in first_trajectories(spec, count=3))


def test_a_regime_is_a_data_spec():
    (first,) = first_trajectories("playground:one-tool-many-calls", count=1)
    assert first.task == "sequential-crops"


@pytest.mark.parametrize("spec", ["playground:mase", "jsonk:file", "playground:maze#dirct=1"])
def test_a_misspelt_source_gets_a_suggestion(spec):
    with pytest.raises(UnknownNameError, match="Did you mean"):
        load_data(spec)


def test_a_mixture_holds_out_of_every_source_and_names_them(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "TRAIN", 6)
    monkeypatch.setattr(data, "VALIDATION", 3)
    root = make_root(tmp_path)
    specs = [write_example("lvr", root, 8), write_example("mirage", root, 5), "playground:maze"]
    loaded = load_data(f"{specs[0]}*2,{specs[1]},{specs[2]}*0.5,{specs[0]}#style=original")
    assert [(one.name, len(one.examples), one.weight) for one in loaded.train.sources] == [
        ("lvr", 7, 2.0),
        ("mirage", 4, 1.0),
        ("playground", 6, 0.5),
        ("lvr-2", 7, 1.0),
    ]
    assert [len(one.examples) for one in loaded.validation.sources] == [1, 1, 3, 1]
    assert loaded.benchmark == "playground:maze"
    assert loaded.rule.startswith("lvr: held out: 1 rows")
    assert loaded.rule.count("show a picture that training shows too") == 3  # all files here show one picture
    assert len(list(loaded.train)) == 24


def test_what_a_format_drops_is_said(tmp_path):
    root = make_root(tmp_path)
    path = write_example("thinkmorph", root, 5)
    assert load_data(f"{path}#cap=4").rule.endswith("dropped by the format: 1 beyond the cap")


def test_held_out_trajectories_of_a_playground_are_of_the_test_split():
    found, passed = held_out_trajectories("playground:visual-search", count=10, seed=1, min_calls=1)
    every = jv.playground.trajectories("visual-search", count=10, seed=1, split="test")
    assert [one.id for one in found] == [one.id for one in every if one.calls]
    assert passed == 10 - len(found) == 3
    assert held_out_trajectories("playground:visual-search", count=10, seed=1)[1] == 0


def test_held_out_trajectories_of_a_file_are_those_that_no_run_trains_on(tmp_path):
    root = make_root(tmp_path)
    spec = write_example("lvr", root, 80)
    found, passed = held_out_trajectories(spec, count=3)
    assert {one.id for one in found} < {one.id for one in load_data(spec).validation}
    assert (len(found), passed) == (3, 0)
    assert held_out_trajectories(spec, count=3, recorded=file_digests(spec))[0] == found
    for recorded in ({}, {"lvr": "another"}):
        with pytest.raises(DataError, match=r"recorded other rows .*source lvr.* --data"):
            held_out_trajectories(spec, count=3, recorded=recorded)
    both, _ = held_out_trajectories(f"{spec},playground:maze", count=4)
    assert [one.task == "maze" for one in both] == [False, False, True, True]
    with pytest.raises(DataError, match=r"0 held-out trajectories with at least 9 tool calls \(4 have fewer\)"):
        held_out_trajectories(spec, count=3, min_calls=9)


def test_a_source_is_drawn_or_read_whole(tmp_path):
    spec = write_example("lvr", make_root(tmp_path), 7)
    found = drawn_or_read(f"{spec},playground:maze", count=5)
    assert [(name, len(rows)) for name, rows in found] == [("lvr", 7), ("playground", 5)]
