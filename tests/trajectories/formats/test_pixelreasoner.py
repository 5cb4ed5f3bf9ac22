"""Pixel-Reasoner's chats: stored crops, boxes in pixels or fractions, videos dropped, and every wrong field."""

from __future__ import annotations

import json

import pytest

from jepa_vlm.trajectories.load import load_trajectories
from tests.trajectories.formats.files import HOSTILE, refused, write_list

SYSTEM = "You are a helpful assistant.\n\n# Tools\n<tools></tools>"


def say(role: str, *items: dict[str, object]) -> dict[str, object]:
    return {"role": role, "content": list(items)}


def text(value: object) -> dict[str, object]:
    return {"text": value, "image": None, "video": None}


def image(path: object = "b.png") -> dict[str, object]:
    return {"image": path}


def call(box: object = (10, 0, 30, 20), name: str = "crop_image", target: object = 1, words: str = "I zoom.") -> dict:
    made = {"name": name, "arguments": {"bbox_2d": box, "target_image": target}}
    return say("assistant", text(f"{words}\n<tool_call>\n{json.dumps(made)}\n</tool_call>"))


SEEN = say("user", text("\nHere is the cropped image (Image Size: 40x20):"), image())
ASKED = say("user", text("What colour?\n\nGuidelines: ..."), image("a.png"))
END = say("assistant", text("It is red. \\boxed{red}"))


def chat(*turns: dict[str, object], qid: str = "q") -> dict[str, object]:
    return {"qid": qid, "message_list": [say("system", text(SYSTEM)), *turns]}


def load(root, *rows, options=""):
    return load_trajectories(f"pixelreasoner:{write_list(root / 'release.json', *rows)}{options}")


def test_the_pearl_style_writes_neither_calls_nor_tools(root):
    (read,) = load(root, chat(ASKED, call(), SEEN, END))
    look, last = read.steps
    assert (read.id, read.question, read.system) == ("release-0", "What colour?\n\nGuidelines: ...", "")
    assert (look.spoken, look.observation) == ("I zoom.", "Here is the cropped image (Image Size: 40x20):")
    assert look.call.box.in_pixels(40, 20) == (10, 0, 30, 20)
    assert (last.text, read.answer, look.image.path) == ("It is red. \\boxed{red}", "red", root / "b.png")


def test_the_original_style_keeps_every_character_of_pixelreasoner(root):
    turn = call()
    (read,) = load(root, chat(ASKED, turn, SEEN, END), options="#style=original")
    assert read.steps[0].spoken == turn["content"][0]["text"]
    assert read.system == SYSTEM


def test_the_original_style_keeps_image_positions_and_the_pearl_style_puts_images_first(root):
    rows = [load(root, chat(ASKED, call(), SEEN, END), options=f"#style={style}")[0] for style in ("original", "pearl")]
    assert [[isinstance(part, str) for part in read.asked] for read in rows] == [[True, False], [False, True]]
    assert [[isinstance(part, str) for part in read.steps[0].shown] for read in rows] == [[True, False], [False, True]]


def test_a_turn_may_consist_of_an_unwritten_call_alone(root):
    (read,) = load(root, chat(ASKED, call(words=""), SEEN, END))
    assert (read.steps[0].spoken, read.calls) == ("", 1)


def test_later_calls_crop_earlier_crops_in_pixelreasoner(root):
    (read,) = load(root, chat(ASKED, call(), SEEN, call((0, 0, 0.5, 1), target=2), SEEN, END))
    assert [step.call.image for step in read.steps[:2]] == [0, 1]
    assert [step.call.box.relative for step in read.steps[:2]] == [False, True]
    assert read.calls == 2


@pytest.mark.parametrize(
    ("box", "name", "pixels"),
    [
        ((0.25, 0, 1.0, 1.0), "crop_image_normalized", (10, 0, 40, 20)),
        ((0.25, 0, 1.0, 1.0), "crop_image", (10, 0, 40, 20)),
        ((10, 0, 44, 20), "crop_image", (10, 0, 40, 20)),
        ((-3, 0, 20, 25), "crop_image", (0, 0, 20, 20)),
    ],
)
def test_boxes_are_fractions_or_pixels_whatever_the_tool_is_called(root, box, name, pixels):
    (read,) = load(root, chat(ASKED, call(box, name), SEEN, END))
    assert read.steps[0].call.box.in_pixels(40, 20) == pixels
    assert read.steps[0].call.arguments["bbox_2d"] == list(box)


def test_text_only_chats_have_no_call(root):
    (read,) = load(root, chat(ASKED, END))
    assert read.calls == 0


def test_videos_are_dropped_and_counted(root):
    video = say("user", text("What happens?"), {"text": None, "image": None, "video": ["1.png", "2.png"]})
    rows = load(root, chat(video, END), chat(ASKED, END), chat(video, END))
    assert rows.dropped == {"video": 2}
    assert (rows.ids, rows.place(0)) == (["release-0"], f"{root / 'release.json'}[1]")


@pytest.mark.parametrize(
    ("bad", "message", "problem"),
    [
        ({"qid": "x"}, "key 'message_list' is missing; it must be a list", "key"),
        ({"message_list": "x"}, "key 'message_list' must be a list", "key"),
        ({"message_list": []}, "neither question nor answer", "turns"),
        (chat("x", END), "message 1 must be an object, got 'x'", "key"),
        (chat({"role": "user"}, END), "key 'content' is missing", "key"),
        (chat({"content": []}, END), "key 'role' is missing", "key"),
        (chat(say("user", {"text": None}), END), "an item of message 1 must set one of text, image and video", "key"),
        (chat(say("user", text("Q?") | image()), END), "must set one of text, image and video", "key"),
        (chat(say("user", text(7)), END), "key 'text' of message 1 must be a string, got 7", "key"),
        (chat(say("user", text("Q?")), END), "has a question but no image", "row"),
        (chat(ASKED), "by turns, got 'system, user'", "turns"),
        (chat(END, ASKED), "by turns, got 'system, assistant, user'", "turns"),
        (chat(ASKED, call()), "the last turn must be the answer", "tool call"),
        (chat(ASKED, END, SEEN, END), "must end with a tool call, since an image follows", "tool call"),
        (chat(ASKED, call(), say("user", text("Execution error"))), "user and assistant by turns", "turns"),
        (chat(ASKED, call(), say("user", text("Execution error")), END), "one image, got 0", "turns"),
        (chat(ASKED, call(target=2), SEEN, END), "'target_image' must be 1 to 1 here, got 2", "tool call"),
        (chat(ASKED, call(target="1"), SEEN, END), "key 'target_image' must be a whole number, got '1'", "key"),
        (chat(ASKED, call((0, 0, 1)), SEEN, END), "key 'bbox_2d' must be four finite numbers", "box"),
        (chat(ASKED, call((0, 0, float("nan"), 9)), SEEN, END), "must be JSON.*NaN is no JSON number", "tool call"),
        (chat(ASKED, call((50, 0, 60, 20)), SEEN, END), "lies outside its 40 x 20 image", "box"),
        (chat(ASKED, call((30, 0, 10, 20)), SEEN, END), "A box needs left < right", "box"),
        (chat(ASKED, say("assistant", text("x <tool_call>{")), SEEN, END), "not closed", "tool call"),
        (chat(ASKED, say("assistant", text("<tool_call>{</tool_call>")), SEEN, END), "must be JSON", "tool call"),
        (chat(ASKED, say("assistant", text("<tool_call>{}</tool_call> x")), SEEN, END), "must end with", "tool call"),
        (chat(ASKED, say("assistant", text("<tool_call>{}</tool_call>")), SEEN, END), "key 'name' is missing", "key"),
        *((chat(ASKED, call(), say("user", image(n)), END), message, problem) for n, problem, message in HOSTILE),
    ],
)
def test_a_bad_pixelreasoner_chat_is_refused_with_file_and_row(root, bad, message, problem):
    rows = load(root, chat(ASKED, END), bad)
    assert rows[0].answer == "red"
    refused(rows, "release.json[1]", message, problem)
