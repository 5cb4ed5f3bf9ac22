"""What a user writes after --data."""

from __future__ import annotations

import pytest

from jepa_vlm import playground
from jepa_vlm.errors import DataError, UnknownNameError
from jepa_vlm.trajectories.formats import FORMATS, write_jsonl
from jepa_vlm.trajectories.load import DataSpec, load_trajectories, parse_spec


@pytest.mark.parametrize(
    ("spec", "source", "rest"),
    [
        ("jsonl:/data/train.jsonl", "jsonl", "/data/train.jsonl"),
        ("data/train.jsonl", "jsonl", "data/train.jsonl"),
        ("./a:b/train.jsonl", "jsonl", "./a:b/train.jsonl"),
        ("playground:visual-search", "playground", "visual-search"),
        ("lvr:C:/meta.json", "lvr", "C:/meta.json"),
    ],
)
def test_a_spec_is_a_name_and_the_rest(spec, source, rest):
    assert parse_spec(spec) == DataSpec(source, rest)
    assert parse_spec(str(DataSpec(source, rest))) == DataSpec(source, rest)


@pytest.mark.parametrize("spec", ["", "train.json", "jsonl:", ":x", "no name:x"])
def test_anything_else_is_refused_with_what_is_expected(spec):
    with pytest.raises(DataError, match=r"must be NAME:PATH .* got"):
        parse_spec(spec)


def test_both_spellings_load_the_same_file(tmp_path):
    path = write_jsonl(playground.trajectories("maze", count=2), tmp_path / "train.jsonl")
    assert (
        load_trajectories(f"jsonl:{path}") == load_trajectories(str(path)) == load_trajectories(parse_spec(str(path)))
    )
    assert len(load_trajectories(str(path))) == 2


def test_an_unknown_format_is_named_with_the_closest_one():
    with pytest.raises(UnknownNameError, match=r"No data format named 'json'\. Did you mean 'jsonl'\?"):
        load_trajectories("json:train.json")


def test_every_format_is_a_function():
    assert "jsonl" in FORMATS
    assert all(callable(FORMATS[name]) for name in FORMATS)
