"""A digest of a source changes with everything that a run trains on, and with nothing else."""

from __future__ import annotations

import json
import shutil

import pytest
from PIL import Image

from jepa_vlm.runs.held_out import digest_rows
from jepa_vlm.trajectories.data_spec import load_trajectories
from jepa_vlm.trajectories.formats import write_store


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
