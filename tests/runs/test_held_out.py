"""Whole pictures are held out, the same ones in any order; a digest changes with all that a run trains on."""

from __future__ import annotations

import hashlib
import json
import random
import shutil

import pytest
from PIL import Image

from jepa_vlm.runs.data import digest_rows, share, split_by_picture
from jepa_vlm.trajectories.formats import write_store
from jepa_vlm.trajectories.load import load_trajectories


def rows(count, pictures, seed=0):
    """So many rows of so many pictures, drawn."""
    draw = random.Random(seed)
    return [f"id-{i}" for i in range(count)], [b"%d" % draw.randrange(pictures) for _ in range(count)]


def by_hash(ids):
    return sorted(range(len(ids)), key=lambda i: hashlib.sha256(ids[i].encode()).digest())


def test_rows_that_share_no_picture_are_held_out_by_the_smallest_hashes():
    ids = [f"id-{i}" for i in range(100)]
    (split,) = split_by_picture([(ids, [name.encode() for name in ids])])
    assert set(split.held_out) == set(by_hash(ids)[:5])
    assert split.shared == 0


def test_the_share_is_one_row_in_twenty_at_least_one_at_most_512():
    assert [share(rows) for rows in (2, 39, 40, 10_240, 100_000)] == [1, 1, 2, 512, 512]


@pytest.mark.parametrize("pictures", [400, 60, 7, 2])
def test_no_held_out_row_shows_a_picture_that_any_source_trains_on(pictures):
    sources = [rows(400, pictures, seed=1), rows(90, pictures, seed=2), rows(40, 400, seed=3)]
    splits = split_by_picture(sources)
    held, trained = set(), set()
    for (_, shown), split in zip(sources, splits, strict=True):
        assert 0 < len(split.held_out) < len(shown)
        assert split.shared == 0
        held |= {shown[i] for i in split.held_out}
        trained |= {shown[i] for i in range(len(shown)) if i not in split.held_out}
    assert not held & trained


def test_the_order_of_the_rows_does_not_matter():
    ids, pictures = rows(200, 50)
    order = list(range(200))
    random.Random(4).shuffle(order)
    (first,), (second,) = (
        split_by_picture([(ids, pictures)]),
        split_by_picture([([ids[i] for i in order], [pictures[i] for i in order])]),
    )
    assert {ids[i] for i in first.held_out} == {ids[order[i]] for i in second.held_out}


def test_a_picture_with_more_rows_than_the_share_is_passed_over():
    ids = [f"id-{i}" for i in range(60)]  # three are to be held out
    first = by_hash(ids)[0]
    pictures = [b"common" if i == first or i % 2 else b"%d" % i for i in range(60)]
    (split,) = split_by_picture([(ids, pictures)])
    assert len(split.held_out) == 3
    assert b"common" not in {pictures[i] for i in split.held_out}


def test_one_picture_for_all_rows_is_split_by_rows_and_counted():
    ids = [f"id-{i}" for i in range(40)]
    (split,) = split_by_picture([(ids, [b"same"] * 40)])
    assert set(split.held_out) == set(by_hash(ids)[:2])
    assert split.shared == 2


def test_a_picture_that_is_all_of_another_source_is_not_held_out():
    both = [b"a"] * 3 + [b"b"] * 3
    for splits in (
        split_by_picture([([str(i) for i in range(6)], both), (["x", "y"], [b"a"] * 2)]),
        split_by_picture([(["x", "y"], [b"a"] * 2), ([str(i) for i in range(6)], both)]),
    ):
        assert all(split.held_out for split in splits)
        whole, small = sorted(splits, key=lambda split: -len(split.held_out))
        assert (len(whole.held_out), whole.shared) == (3, 0)
        assert (len(small.held_out), small.shared) == (1, 1)


def test_a_row_that_cannot_be_read_is_not_held_out():
    ids = [f"id-{i}" for i in range(40)]
    (split,) = split_by_picture([(ids, [None, None, *[b"common"] * 37, b"rare"])])
    assert split.held_out == (39,)


def write(folder, lines):
    (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return load_trajectories(f"jsonl:{folder / 'rows.jsonl'}")


@pytest.fixture
def lines(tmp_path):
    for name, color in (("a.png", "red"), ("b.png", "blue"), ("crop.png", "green")):
        Image.new("RGB", (40, 20), color).save(tmp_path / name)
    shutil.copy(tmp_path / "a.png", tmp_path / "same.png")
    crop = {"text": "look", "call": {"name": "crop", "box": [0, 0, 9, 9], "relative": False}, "image": "crop.png"}
    steps = [crop, {"text": "red"}]
    shown = ("a.png", "b.png", "same.png")
    return [
        {"id": name, "images": [name], "question": "What colour?", "steps": steps, "answer": "red"} for name in shown
    ]


def test_rows_that_show_the_same_file_have_the_same_picture(tmp_path, lines):
    first, second, third = digest_rows(write(tmp_path, lines)).pictures
    assert first == third != second


def test_the_digest_is_the_same_twice_and_of_rows_written_anew(tmp_path, lines):
    digest = digest_rows(write(tmp_path, lines)).digest
    assert digest_rows(write(tmp_path, [dict(sorted(line.items())) for line in lines])).digest == digest


@pytest.mark.parametrize(
    "edit",
    [
        lambda rows: rows[::-1],
        lambda rows: rows[:-1],
        lambda rows: [{**rows[0], "id": "other"}, *rows[1:]],
        lambda rows: [{**rows[0], "answer": "green"}, *rows[1:]],
        lambda rows: [{**rows[0], "task": "colour"}, *rows[1:]],
        lambda rows: [{**rows[0], "system": "Answer."}, *rows[1:]],
        lambda rows: [{**rows[0], "steps": [*rows[0]["steps"][:1], {"text": "Red"}]}, *rows[1:]],
        lambda rows: [{**rows[0], "images": ["b.png"]}, *rows[1:]],
        lambda rows: [{**rows[0], "images": []}, *rows[1:]],
    ],
    ids=["order", "fewer", "id", "answer", "task", "system", "text", "picture", "broken"],
)
def test_the_digest_knows_what_changed(tmp_path, lines, edit):
    digest = digest_rows(write(tmp_path, lines)).digest
    assert digest_rows(write(tmp_path, edit(lines))).digest != digest


@pytest.mark.parametrize("name", ["a.png", "crop.png"])
def test_the_digest_knows_a_picture_that_was_drawn_over(tmp_path, lines, name):
    digest = digest_rows(write(tmp_path, lines)).digest
    Image.new("RGB", (40, 20), "black").save(tmp_path / name)
    assert digest_rows(write(tmp_path, lines)).digest != digest


def test_a_store_shows_the_same_pictures_as_the_files_that_it_was_written_from(tmp_path, lines):
    rows = write(tmp_path, lines)
    write_store(rows, tmp_path / "store")
    stored = load_trajectories(f"parquet:{tmp_path / 'store'}")
    assert digest_rows(stored).pictures == digest_rows(rows).pictures


def test_a_row_that_cannot_be_read_has_no_picture(tmp_path, lines):
    found = digest_rows(write(tmp_path, [{**lines[0], "images": ["gone.png"]}, lines[1]]))
    assert [picture is None for picture in found.pictures] == [True, False]
