"""Visual-CoT's metadata: boxes in pixels, images by data set, and every wrong field."""

from __future__ import annotations

import json

import pytest

from jepa_vlm.trajectories.load import load_trajectories
from tests.trajectories.formats.files import HOSTILE, png, refused, write_lines


def row(**changes: object) -> dict[str, object]:
    good = {
        "question": "Is the car over the cat?",
        "answer": "No",
        "image": "a.png",
        "width": 40,
        "height": 20,
        "bboxs": [[10.0, 0.0, 30.004, 20.0]],
        "dataset": "data",
        "split": "train",
    }
    return {key: value for key, value in (good | changes).items() if value is not None}


def load(root, *rows, options=""):
    path = write_lines(root / "vsr_cot_train.jsonl", *rows)
    return load_trajectories(f"viscot:{path}#images={root.parent}{options}")


def test_viscot_boxes_in_pixels_become_crops_in_fractions(root):
    (read,) = load(root, row())
    look, last = read.steps
    assert (read.id, read.task, read.answer, last.text) == ("vsr_cot_train-0", "data", "No", "No")
    assert look.call.box.in_pixels(40, 20) == (10, 0, 30, 20)
    assert look.spoken.endswith("[0.25, 0.0, 0.7501, 1.0].")
    assert look.image.load().size == (20, 20)


def test_every_viscot_box_is_a_crop(root):
    (read,) = load(root, row(bboxs=[[0, 0, 20, 20], [20, 0, 40, 20]]))
    assert [step.call.box.left for step in read.steps[:2]] == [0, 0.5]


def test_viscot_finds_textcap_images_under_textvqa_and_other_sets_by_option(root, tmp_path):
    (tmp_path / "textvqa").mkdir()
    (tmp_path / "textvqa" / "c.png").write_bytes(png())
    roots = tmp_path / "roots.json"
    roots.write_text(json.dumps({"gqa": "data"}))
    rows = load(root, row(dataset="textcap", image="c.png"), row(dataset="gqa"), options=f",roots={roots}")
    assert [read.images[0].path.parent.name for read in rows] == ["textvqa", "data"]


@pytest.mark.parametrize(
    ("bad", "message", "problem"),
    [
        *((row(**{key: None}), f"key '{key}' is missing", "key") for key in row() if key != "split"),
        (row(width="40"), "key 'width' must be a whole number, got '40'", "key"),
        (row(width=80), "boxes are for an image of 80 x 20, but it has 40 x 20", "box"),
        (row(bboxs=[]), "key 'bboxs' must hold at least one box", "box"),
        (row(bboxs=[[0, 0, 42, 20]]), "reaches beyond its 40 x 20 image", "box"),
        (row(bboxs=[[0, 0, float("nan"), 20]]), "NaN is no JSON number", "json"),
        (row(bboxs=[[-2, 0, 4, 4]]), "reaches beyond its 40 x 20 image", "box"),
        (row(dataset="gqa"), "does not exist", "image missing"),
        (row(dataset=".."), "leads outside the data root", "image path"),
        (row(dataset="../.."), "leads outside the data root", "image path"),
        *((row(image=name), message, problem) for name, problem, message in HOSTILE[3:4] + HOSTILE[6:]),
    ],
)
def test_a_bad_viscot_row_is_refused_with_file_and_line(root, bad, message, problem):
    (root / "link.png").unlink()
    (root / "link.png").symlink_to("/etc/hostname")
    rows = load(root, row(), bad)
    refused(rows, "vsr_cot_train.jsonl:2", message, problem)
