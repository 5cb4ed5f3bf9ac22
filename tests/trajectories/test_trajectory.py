from __future__ import annotations

import json
from dataclasses import replace

import pytest
from PIL import Image

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories import LazyImage, MultipleChoice, Step, ToolCall, Trajectory

IN, OUT, LATER = (LazyImage(pixels=Image.new("RGB", (8, 8), color)) for color in ("red", "green", "blue"))
CALL = ToolCall("crop", {"column": 3})
LAST = Step("B")


def trajectory(steps=(LAST,), images=(IN,), question="Which?") -> Trajectory:
    return Trajectory(id="x", images=images, question=question, steps=steps, answer="B")


@pytest.mark.parametrize("calls", [0, 1, 2, 3])
def test_tool_calls_of_a_trajectory_are_counted(calls):
    steps = (*(Step("Look.", CALL, OUT) for _ in range(calls)), LAST)
    assert trajectory(steps).calls == calls
    assert len(trajectory(steps).tool_images) == calls


def test_images_of_a_trajectory_are_numbered_inputs_first():
    made = trajectory((Step("One.", CALL, OUT), Step("Two.", CALL, LATER), LAST), images=(IN, IN))
    assert made.tool_images == (OUT, LATER)
    assert made.all_images == (IN, IN, OUT, LATER)


def test_the_text_of_a_step_is_reasoning_then_call():
    spoken = Step("Look.", CALL, OUT).spoken
    head, _, rest = spoken.partition(" <tool_call>")
    assert head == "Look."
    assert json.loads(rest.removesuffix("</tool_call>")) == {"name": "crop", "arguments": {"column": 3}}
    assert Step("", CALL, OUT).spoken.startswith("<tool_call>")
    assert LAST.spoken == "B"


def test_a_call_in_the_words_of_the_data_follows_the_text_as_it_is():
    assert Step("Look.", ToolCall("crop", written="\n<call>"), OUT).spoken == "Look.\n<call>"
    assert Step("Look.", ToolCall("crop", written=""), OUT).spoken == "Look."


@pytest.mark.parametrize(
    ("question", "places", "asked"),
    [
        (" Which? ", (), (IN, OUT, "Which?")),
        ("Is  like ?", (3, 9), ("Is ", IN, " like ", OUT, "?")),
        (" one , two ", (0, 6), (IN, " one ,", OUT, " two")),
        ("Which? ", (7, 7), ("Which? ", IN, OUT)),
        (" ", (), (IN, OUT)),
        ("What is <image>?", (), (IN, OUT, "What is <image>?")),
    ],
)
def test_images_stand_at_their_places_in_the_question(question, places, asked):
    assert replace(trajectory(question=question, images=(IN, OUT)), image_places=places).asked == asked


def test_a_tool_s_image_stands_at_its_place_among_its_words():
    assert Step("", None, OUT, "See  here", 4).shown == ("See ", OUT, " here")
    assert Step("", None, OUT, " here").shown == (OUT, "here")
    assert LAST.shown == ()


def test_a_call_is_written_in_its_own_letters():
    assert ToolCall("crop", {"label": "\u7ea2"}).text() == (
        '<tool_call>{"name": "crop", "arguments": {"label": "\u7ea2"}}</tool_call>'
    )


@pytest.mark.parametrize("steps", [(Step("", None, OUT), LAST), (Step("", ToolCall("crop", written=""), OUT), LAST)])
def test_a_turn_may_be_a_crop_alone(steps):
    assert trajectory(steps).steps[0].spoken == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_places": (1, 2)}, "image_places must hold, for each of the 1 images .* 0 to the question's 6 char"),
        ({"image_places": (7,)}, r"image_places must hold.*got \[7\]"),
        ({"image_places": (2, 1), "images": (IN, IN)}, "image_places must hold, for each of the 2 images in order"),
        ({"steps": (Step("a", None, OUT, "x", 2), LAST)}, "image_place of step 1 must be 0 to the 1 .*, got 2"),
        ({"steps": (Step("a", ToolCall("crop", {"x": float("nan")}), OUT), LAST)}, "'crop' must be JSON values"),
        ({"steps": (Step("a", ToolCall("crop", {"x": b""}), OUT), LAST)}, "'crop' must be JSON values"),
        ({"question": "x" * 100_001}, "texts of 100,004 characters, limit 100,000"),
        ({"images": ()}, "has a question but no image"),
        ({"steps": ()}, "has no steps"),
        ({"steps": (Step("Look.", CALL, OUT),)}, "ends with a tool call"),
        ({"steps": (Step("Look.", CALL),)}, "ends with a tool call"),
        ({"steps": (Step("Look.", CALL), LAST)}, "step 1 of 2 has no tool image"),
        ({"steps": (Step("Look.", CALL, OUT), Step(" "))}, "step 2 of 2 has no text"),
    ],
)
def test_a_part_out_of_place_is_refused_by_name(changes, message):
    with pytest.raises(DataError, match=f"Trajectory 'x'.*{message}"):
        replace(trajectory(), **changes)


@pytest.mark.parametrize("name", ["id", "answer", "task", "system"])
def test_every_text_counts_towards_the_limit(name):
    with pytest.raises(DataError, match=r"^Trajectory '(x|x{80})' has texts of 100,\d+ characters.*shorten or drop it"):
        replace(trajectory(), **{name: "x" * 100_001})


def test_the_text_of_a_call_counts_towards_the_limit_even_where_it_is_not_trained():
    silent = ToolCall("crop", {"why": "y" * 100_001}, written="")
    with pytest.raises(DataError, match="limit 100,000") as caught:
        trajectory((Step("Look.", silent, OUT), LAST))
    assert caught.value.problem == "text too long"


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "half \ud83d"},
        {"question": "half \ud83d"},
        {"steps": (Step("half \ud83d"),)},
        {"steps": (Step("Look.", ToolCall("crop", {"why": "half \ud83d"}, written="<call>"), OUT), LAST)},
    ],
)
def test_a_lone_surrogate_in_a_text_is_refused(changes):
    with pytest.raises(DataError, match=r"'\\ud83d' is half of a UTF-16 pair") as caught:
        replace(trajectory(), **changes)
    assert caught.value.problem == "text"


def test_a_question_with_lone_surrogates_or_too_long_is_refused():
    item = MultipleChoice(id="q", images=(IN,), prompt="?", options=("red", "blue"), answer=1)
    with pytest.raises(DataError, match=r"Question 'q'.*half of a UTF-16 pair"):
        replace(item, options=("red", "\udc00"))
    with pytest.raises(DataError, match="Question 'q' has texts of"):
        replace(item, prompt="x" * 100_001)


def test_option_letters_follow_the_number_of_options():
    item = MultipleChoice(id="q", images=(IN,), prompt="?", options=("red", "blue", "green"), answer=2)
    assert item.letters == ("A", "B", "C")


@pytest.mark.parametrize(
    ("options", "answer", "message"),
    [
        (("red",), 0, "2 to 26 options, got 1"),
        (tuple(map(str, range(27))), 0, "2 to 26 options, got 27"),
        (("red", "blue"), 2, "answer 2 is not one of its 2 options"),
        (("red", "blue"), -1, "answer -1 is not one of its 2 options"),
    ],
)
def test_impossible_questions_are_refused(options, answer, message):
    with pytest.raises(DataError, match=f"Question 'q'.*{message}"):
        MultipleChoice(id="q", images=(IN,), prompt="?", options=options, answer=answer)
