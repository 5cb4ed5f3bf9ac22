"""What a user writes after --data."""

from __future__ import annotations

from pathlib import Path

import pytest

from jepa_vlm import playground
from jepa_vlm.errors import DataError, UnknownNameError
from jepa_vlm.trajectories.formats import FORMATS, write_jsonl, write_store
from jepa_vlm.trajectories.load import DataSpec, detect, load_trajectories, parse_spec, split_mixture
from tests.trajectories.formats.files import FORMATS_WITH_EXAMPLES, make_root, write_example, write_list


@pytest.mark.parametrize(
    ("spec", "source", "rest"),
    [
        ("jsonl:/data/train.jsonl", "jsonl", "/data/train.jsonl"),
        ("data/train.jsonl", "auto", "data/train.jsonl"),
        ("./a:b/train.json", "auto", "./a:b/train.json"),
        ("data/train.NDJSON", "auto", "data/train.NDJSON"),
        ("data/x.Parquet", "auto", "data/x.Parquet"),
        ("playground:visual-search", "playground", "visual-search"),
        ("lvr:C:/meta.json", "lvr", "C:/meta.json"),
        ("jsonl:a#b/train.jsonl", "jsonl", "a#b/train.jsonl"),
        ("playground:maze#direct", "playground", "maze#direct"),
    ],
)
def test_a_data_spec_is_a_format_name_and_a_path(spec, source, rest):
    assert parse_spec(spec) == DataSpec(source, rest)
    assert parse_spec(str(DataSpec(source, rest))) == DataSpec(source, rest)


@pytest.mark.parametrize(
    ("spec", "rest", "options"),
    [
        ("playground:maze#direct=1", "maze", {"direct": "1"}),
        ("playground:maze#direct=,path=3-6", "maze", {"direct": "", "path": "3-6"}),
        ("lvr:/d/meta.json#root=/d/a=b,split=train", "/d/meta.json", {"root": "/d/a=b", "split": "train"}),
        ("lvr:/d#1/meta.json#root=/d", "/d#1/meta.json", {"root": "/d"}),
        ("auto:/d/x.JSONL#bad=skip", "/d/x.JSONL", {"bad": "skip"}),
    ],
)
def test_options_follow_the_last_hash_of_a_data_spec(spec, rest, options):
    parsed = parse_spec(spec)
    assert (parsed.rest, parsed.options) == (rest, options)
    assert str(parsed) == spec


def test_an_option_given_twice_is_refused():
    with pytest.raises(DataError, match="may be given once"):
        parse_spec("playground:maze#direct=1,direct=0")


@pytest.mark.parametrize("spec", ["", "train.csv", "jsonl:", ":x", "no name:x"])
def test_a_malformed_data_spec_is_refused_with_the_expected_form(spec):
    with pytest.raises(DataError, match=r"must be NAME:PATH .* got"):
        parse_spec(spec)


def test_a_data_spec_and_a_bare_path_load_the_same_file(tmp_path):
    path = write_jsonl(playground.trajectories("maze", count=2), tmp_path / "train.jsonl")
    assert (
        list(load_trajectories(f"jsonl:{path}"))
        == list(load_trajectories(str(path)))
        == list(load_trajectories(parse_spec(str(path))))
    )
    assert len(load_trajectories(str(path))) == 2


@pytest.mark.parametrize("name", ["a#b.jsonl", "lr=1#steps=2.jsonl"])
def test_a_hash_in_the_name_of_a_file_is_part_of_it(tmp_path, name):
    path = write_jsonl(playground.trajectories("maze", count=2), tmp_path / name)
    assert len(load_trajectories(f"jsonl:{path}")) == 2


def test_an_option_that_a_format_does_not_have_is_refused_with_those_it_has(tmp_path):
    path = write_jsonl(playground.trajectories("maze", count=2), tmp_path / "train.jsonl")
    with pytest.raises(UnknownNameError, match=r"No option of jsonl named 'direct'\. Known: bad, boxes, images.*keep"):
        load_trajectories(f"jsonl:{path}#direct=1")


def test_special_tokens_are_kept_on_request_in_every_format(tmp_path):
    spec = write_example("lvr", make_root(tmp_path))
    rows = load_trajectories(f"{spec}#keep=<|box_start|>+<|box_end|>,style=original")
    assert rows[0].keep == rows[1:][0].keep == ("<|box_start|>", "<|box_end|>")
    assert (rows.ids, rows.place(1), rows.dropped) == (load_trajectories(spec).ids, f"{spec[4:]}[1]", {})
    write_store(rows, tmp_path / "store")
    assert load_trajectories(f"parquet:{tmp_path / 'store'}")[0].keep == rows[0].keep


def test_an_unknown_format_is_named_with_the_closest_one():
    with pytest.raises(UnknownNameError, match=r"No data format named 'json'\. Did you mean 'jsonl'\?"):
        load_trajectories("json:train.json")


def test_every_format_is_a_function():
    assert "jsonl" in FORMATS
    assert all(callable(FORMATS[name]) for name in FORMATS)


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("lvr:/a.json", [("lvr:/a.json", 1.0)]),
        ("lvr:/a.json*2,thinkmorph:/b", [("lvr:/a.json", 2.0), ("thinkmorph:/b", 1.0)]),
        (
            "lvr:/a.json#root=/d,style=original*0.5,mirage:/m.jsonl",
            [("lvr:/a.json#root=/d,style=original", 0.5), ("mirage:/m.jsonl", 1.0)],
        ),
        ("lvr:/a,b/c.json", [("lvr:/a,b/c.json", 1.0)]),
        ("a*b.jsonl", [("a*b.jsonl", 1.0)]),
    ],
)
def test_a_mixture_is_split_at_commas_before_names(spec, parts):
    assert split_mixture(spec) == parts


def test_a_weight_of_zero_is_refused():
    with pytest.raises(DataError, match=r"weight must be positive, got 'lvr:/a\*0'"):
        split_mixture("lvr:/a*0,mirage:/b")


@pytest.mark.parametrize("name", FORMATS_WITH_EXAMPLES)
def test_a_bare_path_is_read_in_the_format_that_its_keys_tell(tmp_path, name):
    spec = write_example(name, make_root(tmp_path))
    path = spec.partition(":")[2]
    assert detect(Path(path)) == name
    assert [one.id for one in load_trajectories(path)] == list(load_trajectories(spec).ids)
    write_store(load_trajectories(spec), tmp_path / "store")
    assert load_trajectories(str(tmp_path / "store")).ids == load_trajectories(spec).ids


@pytest.mark.parametrize(("name", "content"), [("x.json", "[7]"), ("x.jsonl", "7")])
def test_a_file_whose_first_record_is_broken_is_named(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=rf"{name}(\[0\]|:1): a record must be an object, got 7"):
        load_trajectories(str(tmp_path / name))


def test_an_ambiguous_file_needs_a_format_name(tmp_path):
    path = write_list(tmp_path / "x.json", {"id": "1", "image": "a.png", "conversations": []})
    with pytest.raises(DataError, match=r"cannot be told from the keys 'conversations, id, image'; say FORMAT:PATH"):
        load_trajectories(str(path))


@pytest.mark.parametrize("name", ["x.ndjson", "x.JSON", "x.jsonl"])
def test_a_bare_path_takes_options_too(tmp_path, name):
    chat = [{"role": "user", "content": "<image>What?"}, {"role": "assistant", "content": "Red."}]
    make_root(tmp_path)
    write_list(tmp_path / name, {"messages": chat, "images": ["a.png"]}, {"messages": chat, "images": ["gone.png"]})
    rows = load_trajectories(f"{tmp_path / name}#images={tmp_path / 'data'},bad=skip")
    assert (len(rows), rows[0].answer, rows.bad.policy) == (2, "Red.", "skip")
