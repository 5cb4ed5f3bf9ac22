"""Images anywhere in a question, questions of images alone, turns of crops alone, and kept special tokens."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from PIL import Image

import jepa_vlm as jv
from jepa_vlm.errors import BackboneError, DataError
from jepa_vlm.serialization import Serializer
from jepa_vlm.views import (
    IGNORED,
    Conversation,
    LatentConversation,
    PooledFeatures,
    Question,
    Request,
    Slots,
    TokenizedView,
    TrajectoryOnly,
)
from tests.factories import families

ONE, OTHER, CROP = (jv.LazyImage(pixels=Image.new("RGB", size)) for size in ((60, 40), (40, 60), (32, 32)))
SAID = (jv.Step("yes"),)
WITHOUT_TEMPLATE = "tiny-random-paligemma"  # its processor writes images first, whatever is asked
ASKED = {
    "between words": {"question": " Compare  this with\n that, is it? ", "image_places": (9, 20)},
    "first and between blanks": {"question": " \n Which?", "image_places": (0, 1)},
    "last": {"question": "Which of these?\n\n", "image_places": (16, 17)},
    "alone": {"question": ""},
}


def trajectory(**changes: object) -> jv.Trajectory:
    return replace(jv.Trajectory("x", (ONE, OTHER), "Which?", SAID, "yes"), **changes)


def serializer(backbone: jv.Backbone) -> Serializer:
    return Serializer(processor=backbone.processor, adapter=backbone.adapter)


def question_view(backbone: jv.Backbone, asked: jv.Trajectory) -> TokenizedView:
    (view,) = serializer(backbone).views(asked, [Request(Question(), slots=Slots("term", 2))])
    return view


def stock_tokens(backbone: jv.Backbone, asked: jv.Trajectory) -> list[int]:
    """The stock processor's tokens of the question's turn, with a turn of the model opened behind it."""
    content = [
        {"type": "text", "text": part} if isinstance(part, str) else {"type": "image", "image": part.load()}
        for part in asked.asked
    ]
    made = backbone.processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=True, return_dict=True, add_generation_prompt=True
    )
    return list(made["input_ids"][0])


@pytest.mark.parametrize("name", families())
def test_tokens_are_those_of_the_stock_processor_wherever_images_stand(name):
    backbone = jv.load_backbone(name)
    for where, changes in ASKED.items():
        asked = trajectory(**changes)
        (view,) = serializer(backbone).views(asked, [Request(Conversation())])
        ours = view.input_ids.tolist()
        if name == WITHOUT_TEMPLATE:
            continue
        images = [image.load() for image in asked.images]
        added = {"add_special_tokens": not view.text.startswith(backbone.tokenizer.bos_token or "\0")}
        assert ours == backbone.processor(text=[view.text], images=[images], **added)["input_ids"][0], where
        stock = stock_tokens(backbone, asked)
        assert ours[: len(stock) - 1] == stock[:-1], where  # the last one may be joined with the answer's blank


@pytest.mark.parametrize("name", families())
def test_soft_tokens_follow_all_content_of_the_user(name):
    backbone = jv.load_backbone(name)
    words = question_view(backbone, trajectory())
    closing = words.input_ids[words.readouts["last_pred"] + 1 :]
    for where, changes in ASKED.items():
        view = question_view(backbone, trajectory(**changes))
        last = view.readouts["last_token"]
        assert view.slots.nonzero()[:, 0].tolist() == [last + 1, last + 2], where
        assert torch.equal(view.input_ids[last + 3 :], closing), where


def views_of(backbone: jv.Backbone, steps: tuple[jv.Step, ...], *views: jv.views.View) -> list[TokenizedView]:
    asked = trajectory(images=(ONE,), steps=steps)
    return serializer(backbone).views(asked, [Request(view) for view in views])


def test_a_turn_of_a_crop_alone_is_an_empty_turn_that_the_model_learns_to_end():
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl")
    looks = (jv.Step("", None, CROP, "See: ", 5), *SAID)
    whole, cut = views_of(backbone, looks, Conversation(), TrajectoryOnly())
    image = "<|vision_start|><|image_pad|><|vision_end|>"
    assert cut.text == (
        f"<|im_start|>assistant\n<|im_end|>\n<|im_start|>user\nSee: {image}<|im_end|>\n"
        "<|im_start|>assistant\nyes<|im_end|>\n"
    )
    trained = backbone.tokenizer.decode(whole.labels[whole.labels != IGNORED])
    assert trained == "<|im_end|>yes<|im_end|>"
    assert backbone.tokenizer.decode(whole.input_ids[whole.readouts["last_token"]]) == "yes"


def test_latent_segments_need_no_words_before_them():
    view = LatentConversation(PooledFeatures(chunks=2))
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl", added_tokens=view.tokens)
    (latent,) = views_of(backbone, (jv.Step("", None, CROP), jv.Step("", None, CROP), *SAID), view)
    look = f"{view.start}{view.end}\n"
    assert latent.text.endswith(f"<|im_start|>assistant\n{look}{look}yes<|im_end|>\n")
    assert int(latent.slots.sum()) == 4


@pytest.mark.parametrize(
    "text", ["{{ part.text | upper }}", "{{ part.text | replace('is', 'was') }}", "{{ part.text[:9] }}"]
)
def test_a_text_that_the_template_rewrites_is_refused(text):
    backbone = jv.load_backbone("tiny-random-gemma3")
    backbone.processor.chat_template = backbone.processor.chat_template.replace("{{ part.text | trim }}", text)
    with pytest.raises(BackboneError, match=r"but it (rewrites a text|dropped)"):
        question_view(backbone, trajectory(**ASKED["between words"]))


BOX = ("<|box_start|>", "<|box_end|>")
FOUND = (jv.Step("At <|box_start|>(1,2),(3,4)<|box_end|>."),)


def test_special_tokens_are_trained_where_the_data_keeps_them():
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl", added_tokens=BOX)
    made = serializer(backbone)
    with pytest.raises(DataError, match=r"special token '<\|box_start\|>'.* FORMAT:PATH#keep=<\|box_start\|>"):
        made.check(trajectory(steps=FOUND))
    kept = trajectory(steps=FOUND, keep=BOX)
    made.check(kept)
    (view,) = made.views(kept, [Request(Conversation())])
    trained = view.labels[view.labels != IGNORED].tolist()
    assert backbone.tokenizer.decode(trained) == f"{FOUND[0].text}<|im_end|>"
    assert set(backbone.added.ids.values()) < set(trained)
    with pytest.raises(DataError, match=r"special token '<\|box_end\|>'"):
        made.check(trajectory(steps=FOUND, keep=BOX[:1]))


@pytest.mark.parametrize(
    ("name", "token", "reason"),
    [
        ("tiny-random-qwen2.5-vl", "<|im_end|>", "which structures conversations or images"),
        ("tiny-random-qwen2.5-vl", "<|endoftext|>", "which structures conversations or images"),
        ("tiny-random-qwen2.5-vl", "<|video_pad|>", "which structures conversations or images"),
        ("tiny-random-qwen2.5-vl", "<|box_start|>", "which this backbone lacks"),
        ("tiny-random-gemma3", "<image_soft_token>", "which structures conversations or images"),
        ("tiny-random-glm-4v", "<|system|>", "which structures conversations or images"),
    ],
)
def test_content_that_the_template_cannot_keep_is_refused(name, token, reason):
    backbone = jv.load_backbone(name)
    with pytest.raises(DataError, match=f"Trajectory 'x' keeps .*, {reason}"):
        serializer(backbone).check(trajectory(keep=(token,)))
