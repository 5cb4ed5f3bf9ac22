"""The loop on a scripted model: what it reads, token for token, and when it stops."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

from jepa_vlm.adapters import load_backbone
from jepa_vlm.errors import BackboneError
from jepa_vlm.generation.image_tools import IMAGE_TOOLS
from jepa_vlm.generation.tool_loop import PIXEL_REASONER, ToolLoop, answer_with_tools, tool_system
from jepa_vlm.trajectories import LazyImage, MultipleChoice

PAD = "<|image_pad|>"


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("tiny-random-qwen2.5-vl", seed=0)


def item(name: str = "a", size: tuple[int, int] = (128, 64)) -> MultipleChoice:
    image = LazyImage(pixels=Image.new("RGB", size, "red"))
    return MultipleChoice(id=name, images=(image,), prompt=f"red {name} ?", options=("red", "blue"), answer=0)


def call(name: str = "crop_image", **arguments: object) -> str:
    return "look <tool_call>" + json.dumps({"name": name, "arguments": arguments}) + "</tool_call>"


CROP = call(bbox_2d=[0.4, 0.4, 0.6, 0.6], target_image=1)  # padded: [0.3, 0.3, 0.7, 0.7], 52 x 26: too small
WIDE = call(bbox_2d=[0, 0, 0.4, 0.9], target_image=1)  # padded: 64 x 64


class Script:
    """A model that says what a script says, by the question's name, and remembers what it was shown."""

    def __init__(self, backbone, monkeypatch, **turns: list[str]) -> None:
        self.read: dict[str, list[str]] = {name: [] for name in turns}
        self.shapes: list[tuple[int, ...]] = []
        tokenizer = backbone.tokenizer

        def generate(model, input_ids, attention_mask, **settings):
            rows = []
            for ids, mask in zip(input_ids, attention_mask, strict=True):
                text = tokenizer.decode(ids[mask.bool()])
                name = next(name for name in turns if f"red {name} ?" in text)
                self.read[name].append(text)
                said = turns[name][min(len(self.read[name]), len(turns[name])) - 1]
                rows.append([*tokenizer.encode(said, add_special_tokens=False), tokenizer.eos_token_id])
            self.shapes.append(tuple(input_ids.shape))
            width = max(map(len, rows))
            padded = [row + [tokenizer.pad_token_id] * (width - len(row)) for row in rows]
            return torch.cat([input_ids, torch.tensor(padded)], dim=1)

        monkeypatch.setattr(type(backbone.model), "generate", generate)


def opening(name: str, tokens: int, system: str = "You are a helpful assistant.") -> str:
    return (
        f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n<|vision_start|>{PAD * tokens}<|vision_end|>"
        f"red {name} ?"
    )


ASK = "<|im_end|>\n<|im_start|>assistant\n"


def test_a_transcript_token_for_token_in_the_words_of_the_librarys_own_data(backbone, monkeypatch):
    script = Script(backbone, monkeypatch, a=[WIDE, "red . B"])
    (answer,) = answer_with_tools(backbone, [item()], ToolLoop(tools={"crop_image": IMAGE_TOOLS["crop_image"]}))
    first = opening("a", 32) + ASK  # 128 x 64 pixels are 8 x 4 tokens of 16 x 16
    crop = f"<|im_end|>\n<|im_start|>user\n<|vision_start|>{PAD * 16}<|vision_end|>"
    assert script.read["a"] == [first, first + WIDE + crop + ASK]
    assert (answer.text, answer.turns) == ("red . B", (WIDE, "red . B"))
    assert (answer.use.calls, answer.use.failures, answer.use.stopped) == (1, 0, "answered")
    said = [len(backbone.tokenizer.encode(turn, add_special_tokens=False)) + 1 for turn in answer.turns]
    assert answer.use.tokens == sum(said)


def test_a_transcript_token_for_token_in_the_words_of_pixel_reasoner(backbone, monkeypatch):
    script = Script(backbone, monkeypatch, a=[CROP, WIDE, "\\boxed{A}"])
    tools = {"crop_image": IMAGE_TOOLS["crop_image"]}
    loop = ToolLoop(
        tools=tools,
        system=tool_system(list(tools.values())),
        guidelines="\n\nGuidelines: look.",
        observation="\nHere is the cropped image (Image Size: {width}x{height}):",
        image_first=False,
        crop_tokens=(4, 9),
    )
    (answer,) = answer_with_tools(backbone, [item()], loop)
    start = opening("a", 32, loop.system) + "\n\nGuidelines: look." + ASK
    error = "\nExecution error:\nCropped image is too small: 52x26\n"
    failed = start + CROP + f"<|im_end|>\n<|im_start|>user\n{error}" + ASK
    shown = (
        "<|im_end|>\n<|im_start|>user\n\nHere is the cropped image (Image Size: 48x48):"
        f"<|vision_start|>{PAD * 9}<|vision_end|>"
    )
    assert script.read["a"] == [start, failed, failed + WIDE + shown + ASK]
    assert (answer.use.calls, answer.use.failures, answer.use.stopped) == (2, 1, "answered")
    assert '<tools>\n{"type": "function", "function": {"name": "crop_image"' in script.read["a"][0]


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_a_model_that_calls_forever_stops_at_the_limit(backbone, monkeypatch, limit):
    script = Script(backbone, monkeypatch, a=[WIDE])
    (answer,) = answer_with_tools(backbone, [item()], ToolLoop(tools=dict(tools()), max_calls=limit))
    assert (answer.use.calls, answer.use.stopped, len(script.read["a"])) == (limit, "calls", limit + 1)
    assert answer.text == WIDE


def tools():
    return {name: IMAGE_TOOLS[name] for name in IMAGE_TOOLS}


def test_other_limits(backbone, monkeypatch):
    Script(backbone, monkeypatch, a=[WIDE])
    (answer,) = answer_with_tools(backbone, [item()], ToolLoop(tools=tools(), max_images=2))
    assert (answer.use.calls, answer.use.stopped) == (1, "images")
    (answer,) = answer_with_tools(backbone, [item()], ToolLoop(tools=tools(), max_tokens=10))
    assert (answer.use.calls, answer.use.stopped) == (0, "tokens")


def test_conversations_of_a_batch_go_on_side_by_side(backbone, monkeypatch):
    turns = {"a": ["red"], "b": [WIDE, "blue"], "c": [WIDE, WIDE, "red"]}
    names = list(turns)
    together = Script(backbone, monkeypatch, **turns)
    answers = answer_with_tools(backbone, [item(name) for name in names], ToolLoop(tools=tools()))
    assert [shape[0] for shape in together.shapes] == [3, 2, 1]
    alone = Script(backbone, monkeypatch, **turns)
    assert answer_with_tools(backbone, [item(n) for n in names], ToolLoop(tools=tools()), batch_size=1) == answers
    assert alone.read == together.read
    assert [answer.use.calls for answer in answers] == [0, 1, 2]


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (
            call("rm"),
            "There is no tool `rm`; there are crop_image, crop_image_normalized, draw_box, highlight",
        ),
        (call(bbox_2d=[0, 0, 1, 1], target_image=2), "You can only pick an image within [1,1]"),
        (call(bbox_2d=[0, 0, 1, 1], target_image=0), "You can only pick an image within [1,1]"),
        (call(bbox_2d=[0, 0, 1, 1], target_image="1"), "You can only pick an image within [1,1]"),
        (call(target_image=1), "`bbox_2d` must be four finite numbers"),
        (call("select_frames", target_frames=[1]), "You attempted to `select_frames`"),
        ("<tool_call>crop</tool_call>", "The tool call is not valid JSON"),
    ],
)
def test_errors_come_back_as_text_and_are_counted(backbone, monkeypatch, said, error):
    script = Script(backbone, monkeypatch, a=[said, "red"])
    (answer,) = answer_with_tools(backbone, [item()], ToolLoop(tools=tools()))
    assert "\nExecution error:\n" in script.read["a"][1]
    assert error in script.read["a"][1]
    assert (answer.use.calls, answer.use.failures, answer.use.stopped) == (1, 1, "answered")


def test_a_tool_that_breaks_is_an_error_for_the_model_not_for_the_run(backbone, monkeypatch):
    script = Script(backbone, monkeypatch, a=[call("cut"), "red"])
    loop = ToolLoop(tools={"cut": lambda image, arguments: image.crop(arguments["box"])})
    (answer,) = answer_with_tools(backbone, [item()], loop)
    assert "Execution error:\nKeyError: 'box'" in script.read["a"][1]
    assert answer.use.failures == 1


def test_a_family_whose_pictures_cannot_be_scaled_is_refused_before_any_call_fails():
    llava = load_backbone("tiny-random-llava")
    with pytest.raises(BackboneError, match=r"256 to 5120 tokens, .*not in 'llava'"):
        answer_with_tools(llava, [item()], PIXEL_REASONER)


def test_later_calls_may_look_at_earlier_crops(backbone, monkeypatch):
    seen = []

    def look(image, arguments):
        seen.append(image.size)
        return image.crop((0, 0, 32, 32))

    again = [call("look", target_image=number) for number in (1, 2, 1)]
    Script(backbone, monkeypatch, a=[*again, "red"])
    answer_with_tools(backbone, [item()], ToolLoop(tools={"look": look}))
    assert seen == [(128, 64), (32, 32), (128, 64)]


def test_special_tokens_that_a_model_spells_out_are_not_read_as_structure(backbone, monkeypatch):
    nested = "<|im_<|im_end|>start|>"
    said = call("x<|image_pad|>y" + nested, bbox_2d=[0, 0, 1, 1])
    script = Script(backbone, monkeypatch, a=["red"])

    def spelled(self, ids, **_):
        return said if len(script.read["a"]) == 1 and len(ids) < 20 else original(self, ids, **_)

    original = type(backbone.tokenizer).decode
    monkeypatch.setattr(type(backbone.tokenizer), "decode", spelled)
    answers = answer_with_tools(backbone, [item()], ToolLoop(tools=tools(), max_calls=1))
    assert script.read["a"][1].count(PAD) == 32
    assert "There is no tool `xy`" in script.read["a"][1]
    assert answers[0].use.failures == 1


@pytest.mark.parametrize("wrong", [{"max_calls": -1}, {"max_images": 0}, {"max_new_tokens": 0}, {"max_tokens": 0}])
def test_limits_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ToolLoop(tools={}, **wrong)


def test_a_real_model_runs_through_the_loop(backbone):
    answers = answer_with_tools(backbone, [item("a"), item("b")], ToolLoop(tools=tools(), max_new_tokens=3))
    assert [answer.id for answer in answers] == ["a", "b"]
    assert all(0 < answer.use.tokens <= 3 for answer in answers)
