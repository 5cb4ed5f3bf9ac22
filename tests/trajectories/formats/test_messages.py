"""Chat messages: placeholders in texts or parts, tool calls in texts or fields, and every wrong field."""

from __future__ import annotations

import json

import pytest

from jepa_vlm.trajectories.formats.tables import ParquetRecords
from jepa_vlm.trajectories.load import load_trajectories
from tests.trajectories.formats.files import HOSTILE, png, refused, write_lines, write_list, write_table

CALL = {"name": "crop", "arguments": {"bbox_2d": [0, 0, 0.5, 1]}}
SEEN = {"role": "tool", "content": [{"type": "image"}, {"type": "text", "text": "zoomed"}]}
LOOK = {"role": "assistant", "content": f"I look. <tool_call>{json.dumps(CALL)}</tool_call>"}


def asked(content: object = "<image>What?") -> dict[str, object]:
    return {"role": "user", "content": content}


def said(content: object = "Red.") -> dict[str, object]:
    return {"role": "assistant", "content": content}


def row(*messages: object, images: object = ("a.png",), **more: object) -> dict[str, object]:
    return {"messages": list(messages or (asked(), said())), "images": images, **more}


def load(root, *rows):
    return load_trajectories(f"messages:{write_lines(root / 'x.jsonl', *rows)}")


@pytest.mark.parametrize(
    "content",
    [
        "<image>What?",
        "<image>\nWhat?",
        [{"type": "image"}, {"type": "text", "text": "What?"}],
        [{"type": "input_image", "image_url": "a.png"}, {"type": "input_text", "text": "What?"}],
        [{"type": "image_url", "image_url": {"url": "a.png", "detail": "high"}}, {"type": "text", "text": "What?"}],
    ],
)
@pytest.mark.parametrize("role", ["system", "developer"])
def test_image_placeholders_stand_in_texts_or_as_parts(root, content, role):
    images = [] if "a.png" in str(content) else ["a.png"]
    (read,) = load(root, row({"role": role, "content": "Be brief."}, asked(content), said(), images=images))
    assert read.image_places == read.notes == ()
    assert (read.question, read.answer, read.system, read.images[0].path) == (
        "What?",
        "Red.",
        "Be brief.",
        root / "a.png",
    )


def test_prompt_and_completion_keep_images_in_place(root):
    parts = [{"type": "image", "image": "b.png"}, {"type": "text", "text": "Q?"}]
    rows = load(
        root, {"prompt": [asked(parts)], "completion": [said()]}, row(images=[{"path": "a.png", "bytes": None}])
    )
    assert [read.images[0].path.name for read in rows] == ["b.png", "a.png"]


@pytest.mark.parametrize(
    ("content", "question", "places"),
    [
        ("What?\n<image>", "What?\n", (6,)),
        ("<image>", "", ()),
        ("A <image>?", "A ?", (2,)),
        ([{"type": "text", "text": "Is <image> this? "}, {"type": "image"}], "Is <image> this? ", (17,)),
        ([{"type": "image"}, {"type": "text", "text": "A <video> tag?"}], "A <video> tag?", ()),
    ],
)
def test_images_stay_where_they_stand_and_words_of_parts_are_words(root, content, question, places):
    (read,) = load(root, row(asked(content), said("An <image>.")))
    assert (read.question, read.image_places, read.answer) == (question, places, "An <image>.")


def test_prompt_and_completion_may_be_texts(root):
    (read,) = load(root, {"prompt": "<image>What?", "completion": "Red.", "images": ["a.png"]})
    assert (read.question, read.answer) == ("What?", "Red.")


def test_several_user_messages_are_one_question(root):
    (read,) = load(root, row(asked("Look."), asked([{"type": "image"}]), asked("What?"), said()))
    assert (read.question, read.image_places) == ("Look.\n\nWhat?", (6,))


@pytest.mark.parametrize(
    ("seen", "observation", "place"),
    [
        (SEEN, "zoomed", 0),
        ({"role": "tool", "content": "zoomed: <image> so"}, "zoomed:  so", 8),
        (asked("<tool_response><image></tool_response>"), "<tool_response></tool_response>", 15),
    ],
)
def test_the_image_of_a_tool_is_recognised_by_role_or_tags(root, seen, observation, place):
    (read,) = load(root, row(asked(), said("I look."), seen, said(), images=["a.png", "b.png"]))
    look = read.steps[0]
    assert (look.call, look.observation, look.image_place, look.image.path.name) == (None, observation, place, "b.png")


def test_a_call_given_separately_is_written_as_in_the_data(root):
    call = {"name": "crop", "arguments": '{"label": "\u7ea2", "bbox_2d": [0, 0, 0.5, 1]}'}
    look = said("") | {"tool_calls": [{"function": call}]}
    (read,) = load(root, row(asked(), look, SEEN, said(), images=["a.png", "b.png"]))
    said_so = '{"name": "crop", "arguments": {"label": "\u7ea2", "bbox_2d": [0, 0, 0.5, 1]}}'
    assert read.steps[0].spoken == f"<tool_call>{said_so}</tool_call>"


def test_messages_in_a_json_list_are_read_as_well(root):
    assert len(load_trajectories(f"messages:{write_list(root / 'x.json', row(), row())}")) == 2


@pytest.mark.parametrize(
    "look",
    [
        LOOK,
        {"role": "assistant", "content": "I look.", "tool_calls": [{"type": "function", "function": CALL}]},
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [{"function": CALL | {"arguments": json.dumps(CALL["arguments"])}}],
        },
    ],
)
def test_a_tool_call_stands_in_the_text_or_in_its_own_field(root, look):
    (read,) = load(root, row(asked(), look, SEEN, said(), images=["a.png", "b.png"]))
    first = read.steps[0]
    assert first.spoken == f"I look. <tool_call>{json.dumps(CALL)}</tool_call>"
    assert (first.call.name, first.call.box.in_pixels(40, 20)) == ("crop", (0, 0, 20, 20))
    assert (first.observation, first.image.path.name) == ("zoomed", "b.png")


@pytest.mark.parametrize("cells", [[{"bytes": png(), "path": None}], [{"bytes": None, "path": "a.png"}], ["a.png"]])
@pytest.mark.parametrize(
    "content", ["<image>What?", [{"type": "image", "text": None}, {"type": "text", "text": "What?"}]]
)
def test_a_table_of_messages_is_read_whatever_holds_its_images(root, cells, content):
    said = [{"type": "text", "text": "Red."}] if isinstance(content, list) else "Red."
    chat = [{"role": "user", "content": content}, {"role": "assistant", "content": said}]
    path = write_table(root / "data" / "train-0.parquet", {"messages": chat, "images": cells, "extra": None})
    for spec in (f"messages:{path}", str(path), f"messages:{path.parent}"):
        (read,) = load_trajectories(f"{spec}#images={root}")
        assert (read.question, read.answer, read.images[0].size) == ("What?", "Red.", (40, 20))


def test_a_null_in_a_table_is_read_as_a_missing_key(tmp_path):
    parts = [{"type": "image", "text": None}, {"type": "text", "text": "What?"}]
    path = write_table(tmp_path / "x.parquet", {"messages": [{"role": "user", "content": parts}], "task": None})
    (part, _) = parts
    del part["text"]
    assert ParquetRecords(path, {}).read(0) == {"messages": [{"role": "user", "content": parts}]}


TWO = ("a.png", "b.png")


@pytest.mark.parametrize(
    ("bad", "message", "problem"),
    [
        ({"images": []}, "must have the key 'messages', or else 'prompt' and 'completion', got 'images'", "key"),
        (row() | {"prompt": []}, "must have the key 'messages', or else 'prompt' and 'completion'", "key"),
        ({"prompt": "x"}, "must have the key 'messages', or else 'prompt' and 'completion', got 'prompt'", "key"),
        (
            row(asked() | {"role": "tool_call"}, said()),
            "the role of message 0 must be one of system, .*'tool_c",
            "turns",
        ),
        (row({"role": "tool", "content": "<image>"}, said()), "by turns, got 'tool, assistant'", "turns"),
        (row(asked() | {"tool_calls": [{}]}, said()), "role 'user' makes a tool call; only assistants may", "turns"),
        (
            row(asked([{"type": "image_url"}]), said()),
            "part 'image_url' of message 0 must hold one image, got 0",
            "key",
        ),
        (row(asked([{"type": "image", "image": "a.png", "url": "a.png"}])), "must hold one image, got 2", "key"),
        (
            row(asked([{"type": "text", "text": "<image>What?"}]), said()),
            "1 of the images have no place",
            "placeholder",
        ),
        (row(asked("<image><audio>?"), said()), "holds the placeholder '<audio>'", "placeholder"),
        (row(asked(), said("<bbox>")), "holds the placeholder '<bbox>'", "placeholder"),
        (row(asked(), said() | {"tool_calls": [{"function": CALL | {"arguments": '{"a": NaN}'}}]}), "NaN", "tool call"),
        (row(asked(), said(), asked("And <image>?"), said(), images=TWO), "a chat of several turns", "several turns"),
        (row("x", said()), "message 0 must be an object, got 'x'", "key"),
        (row({"content": "x"}, said()), "key 'role' is missing", "key"),
        (row(asked([{"text": "x"}]), said()), "key 'type' is missing", "key"),
        (row(asked([{"type": "video"}]), said()), "a part of message 0 must be a text or an image, got 'video'", "key"),
        (row(asked("What?"), said()), "1 of the images have no place in the messages", "placeholder"),
        (row(asked("<image><image>"), said()), "message 0 shows an image beyond the list", "placeholder"),
        (row(asked("What?"), said(), images=[]), "has a question but no image", "row"),
        (row(images=[7]), "an image path must be a string, got 7", "key"),
        (row(images="a.png"), "key 'images' must be a list", "key"),
        (row(asked()), "by turns, got 'user'", "turns"),
        (row(said(), asked()), "by turns, got 'assistant, user'", "turns"),
        (row(asked(), said(), asked("More?"), said()), "a chat of several turns is not read", "several turns"),
        (row(asked(), LOOK, asked("More?"), said()), "must show the tool's one image, got 0", "turns"),
        (row(asked(), LOOK), "the last turn must be the answer", "tool call"),
        (row(asked(), said([{"type": "image"}]), images=TWO), "role 'assistant' shows an image", "turns"),
        (row(asked(), said("<image>"), images=TWO), "1 of the images have no place in the messages", "placeholder"),
        (row(asked(), LOOK | {"tool_calls": [{"function": CALL}]}, SEEN, said(), images=TWO), "twice", "tool call"),
        (
            row(asked(), said() | {"tool_calls": [{}, {}]}, SEEN, said(), images=TWO),
            "may make one tool call",
            "tool call",
        ),
        (row(asked(), said() | {"tool_calls": [{}]}, SEEN, said(), images=TWO), "key 'function' is missing", "key"),
        *((row(images=[name]), message, problem) for name, problem, message in HOSTILE),
    ],
)
def test_a_bad_messages_chat_is_refused_with_file_and_line(root, bad, message, problem):
    rows = load(root, row(), bad)
    refused(rows, "x.jsonl:2", message, problem)
