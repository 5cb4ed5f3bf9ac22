"""Mirage's lines: helper images between words, paths from another folder, and every wrong field."""

from __future__ import annotations

import pytest

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.load import load_trajectories
from tests.trajectories.formats.files import HOSTILE, refused, write_lines

TOLD = "<think>I move.</think><output_image>The answer is \\boxed{A}."


def row(**changes: object) -> dict[str, object]:
    good = {
        "text_input": "\nHere is the map: <image>\n\nPlan: UP\n",
        "image_input": "a.png",
        "image_output": "b.png",
        "text_output": TOLD,
    }
    return {key: value for key, value in (good | changes).items() if value is not None}


def test_the_helper_image_of_mirage_stands_between_the_words(root):
    (read,) = load_trajectories(f"mirage:{write_lines(root / 'train_direct.jsonl', row())}")
    look, say = read.steps
    assert (read.id, read.answer, read.task) == ("train_direct-0", "A", "train_direct")
    assert (read.question, read.image_places) == ("Here is the map: \n\nPlan: UP", (17,))
    assert (look.spoken, look.call, look.image.path) == ("<think>I move.</think>", None, root / "b.png")
    assert say.text == "The answer is \\boxed{A}."


@pytest.mark.parametrize(
    ("asked", "question", "places"),
    [
        ("<image><image>\nWhich?", "Which?", ()),
        ("Which? <image>\n<image>", "Which? \n", (7, 8)),
        ("<image> left and <image> right?", " left and  right?", (0, 10)),
        ("One <image>, two <image>?", "One , two ?", (4, 10)),
        ("<image>\n<image>", "", ()),
    ],
)
def test_a_mirage_row_may_have_several_images_and_steps(root, asked, question, places):
    made = row(
        text_input=asked,
        image_input=["a.png", "b.png"],
        image_output=["b.png", "a.png"],
        text_output="x<output_image>y<output_image>\\boxed{\\frac{1}{2}}",
    )
    (read,) = load_trajectories(f"mirage:{write_lines(root / 'x.jsonl', made)}")
    assert (read.question, read.image_places) == (question, places)
    assert (read.calls, read.answer) == (2, "\\frac{1}{2}")


def test_the_output_of_a_mirage_row_may_begin_with_an_image(root):
    (read,) = load_trajectories(f"mirage:{write_lines(root / 'x.jsonl', row(text_output='<output_image>B'))}")
    assert (read.steps[0].spoken, read.steps[1].text) == ("", "B")


def test_mirage_paths_may_be_relative_to_the_folder_of_its_code(root):
    (root / "data").mkdir()
    path = write_lines(root / "data" / "x.jsonl", row(image_input="./a.png"))
    assert len(list(load_trajectories(f"mirage:{path}#root={root}"))) == 1
    with pytest.raises(DataError, match=r"x\.jsonl:1: .*does not exist.*say so: #root=FOLDER"):
        load_trajectories(f"mirage:{path}")[0]


@pytest.mark.parametrize(
    ("bad", "message", "problem"),
    [
        (row(text_input=None), "key 'text_input' is missing", "key"),
        (row(text_output=7), "key 'text_output' must be a string, got 7", "key"),
        (row(text_output="no image"), "text_output has 0 <output_image> for 1 image_output", "placeholder"),
        (row(image_output=None), "text_output has 1 <output_image> for 0 image_output", "placeholder"),
        (row(text_output="A<output_image>"), "step 2 of 2 has no text", "row"),
        (row(image_input=None), "the question has 1 <image> for 0 images", "placeholder"),
        (row(image_input=[3]), r"key 'image_input' must be a path or a list of paths, got \[3\]", "key"),
        (row(image_input={"a": 1}), "an image has neither bytes nor a path", "image missing"),
        *((row(image_output=name), message, problem) for name, problem, message in HOSTILE),
    ],
)
def test_a_bad_mirage_row_is_refused_with_file_and_line(root, bad, message, problem):
    rows = load_trajectories(f"mirage:{write_lines(root / 'x.jsonl', row(), bad)}")
    refused(rows, "x.jsonl:2", message, problem)
