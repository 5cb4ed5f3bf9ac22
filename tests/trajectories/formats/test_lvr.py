"""LVR's list and meta file: the trajectory of a row, and the message for each wrong field."""

from __future__ import annotations

import json
import pickle

import pytest

from jepa_vlm.errors import DataError, UnknownNameError
from jepa_vlm.trajectories.load import load_trajectories
from tests.trajectories.formats.files import HOSTILE, png, refused, write_list

ASKED = "<image>\nWhat colour is the ball?\nProvide a short and direct response."


def row(said: str = "<lvr>\n<answer> red </answer>", asked: str = ASKED, **changes: object) -> dict[str, object]:
    turns = [{"from": "human", "value": asked}, {"from": "gpt", "value": said}]
    good = {
        "dataset": "flickr30k",
        "split": "train",
        "question_id": 7,
        "image": ["a.png"],
        "conversations": turns,
        "bboxes": [[0.25, 0.0, 0.75, 1.0]],
    }
    return {key: value for key, value in (good | changes).items() if value is not None}


def test_an_lvr_row_is_a_crop_in_the_pearl_style(root):
    (read,) = load_trajectories(f"lvr:{write_list(root / 'stage1.json', row())}")
    look, say = read.steps
    assert (read.id, read.task, read.answer, say.text) == ("stage1-0", "flickr30k", "red", "red")
    assert read.question == "What colour is the ball?\nProvide a short and direct response."
    assert look.spoken == (
        "Now I will focus on the relevant part of the image within the normalized bounding boxes: "
        "[0.25, 0.0, 0.75, 1.0]."
    )
    assert look.observation.startswith("Here is the relevant cropped part of the image")
    assert look.call.box.in_pixels(40, 20) == (10, 0, 30, 20)
    assert look.image.size == look.image.load().size == (20, 20)


def test_the_original_style_keeps_tags_and_calls_as_json(root):
    (read,) = load_trajectories(f"lvr:{write_list(root / 'stage1.json', row())}#style=original")
    look, say = read.steps
    assert (say.text, read.answer, look.text, look.observation) == ("<answer> red </answer>", "red", "", "")
    assert json.loads(look.spoken[11:-12]) == {"name": "crop", "arguments": {"bbox_2d": [0.25, 0.0, 0.75, 1.0]}}


def test_words_before_between_and_after_latent_tokens_are_kept(root):
    said = "First <lvr> then <lvr>\nso <answer>B</answer>"
    (read,) = load_trajectories(
        f"lvr:{write_list(root / 'x.json', row(said, bboxes=[[0, 0, 0.5, 1], [0.5, 0, 1, 1]]))}#style=original"
    )
    assert [step.text for step in read.steps] == ["First", "then", "so <answer>B</answer>"]
    assert [step.call.box.left for step in read.steps[:2]] == [0, 0.5]


def test_a_meta_file_joins_lists_with_their_own_folders(root):
    (root / "more" / "images").mkdir(parents=True)
    (root / "more" / "images" / "c.png").write_bytes(png(30, 30))
    write_list(root / "one.json", row())
    write_list(root / "more" / "two.json", row(image=["c.png"]), row(image=["c.png"]))
    meta = write_list(
        root / "meta.json",
        {"ds_name": "one", "data_path": "one.json", "image_folder": ".", "ds_type": "Q_A"},
        {"ds_name": "two", "data_path": str(root / "more" / "two.json"), "image_folder": "more/images"},
    )
    rows = load_trajectories(f"lvr:{meta}")
    assert rows.ids == ["one-0", "two-0", "two-1"]
    assert [read.images[0].size for read in rows] == [(40, 20), (30, 30), (30, 30)]
    assert rows.place(2) == f"{root / 'more' / 'two.json'}[1]"


def test_a_meta_file_stays_inside_its_root(root, tmp_path):
    data = write_list(tmp_path / "outside.json", row())
    meta = write_list(root / "meta.json", {"ds_name": "o", "data_path": str(data), "image_folder": "."})
    with pytest.raises(DataError, match=r"meta\.json\[0\]: path '.*outside\.json' leads outside .*#root=FOLDER"):
        load_trajectories(f"lvr:{meta}")
    assert len(load_trajectories(f"lvr:{meta}#root={tmp_path}")) == 1


def test_roots_map_the_released_paths_to_real_folders(root, tmp_path):
    (tmp_path / "flickr").mkdir()
    (tmp_path / "flickr" / "7.png").write_bytes(png(60, 30))
    data = write_list(root / "x.json", row(image=["viscot/flickr30k/7.png"]), row())
    roots = tmp_path / "roots.json"
    roots.write_text(json.dumps({"viscot": "nowhere", "viscot/flickr30k": "flickr"}))
    rows = load_trajectories(f"lvr:{data}#roots={roots}")
    assert [read.images[0].size for read in rows] == [(60, 30), (40, 20)]
    pickle.dumps(rows)
    bad = write_list(root / "y.json", row(image=["viscot/flickr30k/../../secret.png"]))
    with pytest.raises(DataError, match="leads outside the data root"):
        load_trajectories(f"lvr:{bad}#roots={roots}")[0]
    roots.write_text('{"viscot": 3}')
    with pytest.raises(DataError, match=r"roots\.json: key 'viscot' must be a string, got 3"):
        load_trajectories(f"lvr:{data}#roots={roots}")


@pytest.mark.parametrize(
    ("bad", "message", "problem"),
    [
        (row(image=None), "key 'image' must hold one path, got 0", "key"),
        (row(image=7), "key 'image' must be a path or a list of paths, got 7", "key"),
        (row(image=[]), "key 'image' must hold one path, got 0", "key"),
        (row(image=["a.png", "b.png"]), "key 'image' must hold one path, got 2", "key"),
        (row(bboxes=None), "key 'bboxes' is missing", "key"),
        (row(bboxes=[]), r"the gpt turn has 1 <lvr> for 0 bboxes", "placeholder"),
        (row(said="<answer>x</answer>"), r"the gpt turn has 0 <lvr> for 1 bboxes", "placeholder"),
        (row(bboxes=[[0, 0, 1]]), r"bboxes\[0\] must be four finite numbers", "box"),
        (row(bboxes=[[0, 0, float("nan"), 1]]), "NaN is no JSON number", "json"),
        (row(bboxes=[[0, 0, 10**400, 1]]), r"bboxes\[0\] must be four finite numbers", "box"),
        (row(said="<lvr>\n" + "<answer>" * 125_000), r"texts of 1,000,\d+ characters", "text too long"),
        (row(bboxes=[[0.5, 0, 0.5, 1]]), "A box needs left < right", "box"),
        (row(bboxes=[[0, 0, 20, 20]]), r"does not fit fractions of its 40 x 20 image.*#boxes=pixels", "box"),
        (row(asked="What?"), "the question has 0 <image> for 1 images", "placeholder"),
        (row(asked="<image><image> What?"), "the question has 2 <image> for 1 images", "placeholder"),
        (row(said="<lvr> red"), "the gpt turn must end with <answer>", "key"),
        (row(conversations=[]), "conversations must hold pairs", "turns"),
        (row(conversations=[{"from": "gpt", "value": "x"}]), r"conversations\[0\] must be from 'human'", "turns"),
        (row(conversations=row()["conversations"] * 2), "one human and one gpt turn, got 4", "turns"),
        (row(conversations=["x"]), r"conversations\[0\] must be an object, got 'x'", "key"),
        (row(asked="<image>\n" + "x" * 1_000_000), r"texts of 1,000,\d+ characters, limit 100,000", "text too long"),
        *((row(image=[name]), message, problem) for name, problem, message in HOSTILE),
    ],
)
def test_a_bad_lvr_row_is_refused_with_file_and_row(root, bad, message, problem):
    rows = load_trajectories(f"lvr:{write_list(root / 'x.json', row(), bad)}")
    assert rows[0].id == "x-0"
    refused(rows, "x.json[1]", message, problem)


def test_options_of_the_lvr_format_are_checked(root):
    data = write_list(root / "x.json", row())
    with pytest.raises(UnknownNameError, match=r"No style named 'perl'\. Did you mean 'pearl'"):
        load_trajectories(f"lvr:{data}#style=perl")
    with pytest.raises(UnknownNameError, match=r"No option of lvr named 'image'\. Did you mean 'images'"):
        load_trajectories(f"lvr:{data}#image=x")
