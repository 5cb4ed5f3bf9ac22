"""Expert tokens precede the reasoning, are supervised or not, and change no other token."""

from __future__ import annotations

import pytest
import torch

import jepa_vlm as jv
from jepa_vlm.contrib.covt import AheadOfReasoning, AsAnswer, BehindImages, PaddedConversation, Pads, SomeKinds
from jepa_vlm.errors import DataError
from jepa_vlm.serialization import Serializer
from jepa_vlm.views import IGNORED, Conversation, Request

PADS = (Pads("<|dino_pad|>", 2), Pads("<|depth_pad|>", 3))
TOKENS = ("<|dino_pad|>", "<|depth_pad|>")
WRITTEN = "<|dino_pad|><|dino_pad|><|depth_pad|><|depth_pad|><|depth_pad|>"
TOLD = AheadOfReasoning(lead="Because ", between=" and ", close=", ")


def serialized(name, *views):
    backbone = jv.load_backbone(name, added_tokens=TOKENS)
    serializer = Serializer(processor=backbone.processor, adapter=backbone.adapter)
    (trajectory,) = jv.playground.trajectories("sequential-crops", count=1)
    encodings = [Request(view) for view in views]
    return backbone, serializer.views(trajectory, encodings)


@pytest.mark.parametrize("name", ["tiny-random-qwen2.5-vl", "tiny-random-llava", "tiny-random-gemma3"])
def test_expert_tokens_begin_the_first_turn_and_change_nothing_else(name):
    view = PaddedConversation(pads=PADS, place=TOLD)
    backbone, (plain, padded) = serialized(name, Conversation(), view)
    opening = "Because <|dino_pad|><|dino_pad|> and <|depth_pad|><|depth_pad|><|depth_pad|>, "
    start = padded.text.index(opening)
    assert padded.text.count(opening) == 1
    assert plain.text[:start] + opening + plain.text[start:] == padded.text
    ids = list(backbone.added.ids.values())
    assert padded.input_ids[padded.marks["pads"]].tolist() == [ids[0]] * 2 + [ids[1]] * 3
    assert plain.marks == {}
    assert int(torch.isin(padded.input_ids, torch.tensor(ids)).sum()) == 5
    assert torch.equal(padded.labels[padded.marks["pads"]], padded.input_ids[padded.marks["pads"]])
    assert plain.image_tokens.sum() == padded.image_tokens.sum()
    last = (plain.labels != IGNORED).sum()
    assert (padded.labels != IGNORED).sum() >= last + 5


def test_unsupervised_expert_tokens_are_read_and_carry_no_label():
    views = [PaddedConversation(pads=PADS, supervised=supervised) for supervised in (True, False)]
    _, (trained, not_trained) = serialized("tiny-random-qwen2.5-vl", *views)
    assert torch.equal(trained.input_ids, not_trained.input_ids)
    assert (not_trained.labels[not_trained.marks["pads"]] == IGNORED).all()
    assert torch.equal(trained.labels[~trained.marks["pads"]], not_trained.labels[~trained.marks["pads"]])


def test_a_text_that_contains_an_expert_token_is_refused():
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl", added_tokens=TOKENS)
    serializer = Serializer(processor=backbone.processor, adapter=backbone.adapter)
    (drawn,) = jv.playground.trajectories("visual-search", count=1)
    forged = jv.Trajectory("x", drawn.images, drawn.question, (jv.Step("<|dino_pad|> A"),), "A")
    with pytest.raises(DataError, match="special token"):
        serializer.views(forged, [Request(PaddedConversation(pads=PADS))])


ASKED = AsAnswer(question="What is the feature, depth map of the image?")
IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
QUESTION = "What shape is the cyan object? A corner B triangle C ring D square. Look closely first."
FIRST = 'The cyan object is at column 1 row 6. <tool_call>{"name": "crop", "arguments": {"column": 1, "row": 6}}'
LOOK, SAID = f"{FIRST}</tool_call>", "<|im_end|>\n<|im_start|>assistant\n"
THEN = f"<|im_end|>\n<|im_start|>user\n{IMAGE}{SAID}B<|im_end|>\n"
GOLDEN = {
    "understand": (
        PaddedConversation(pads=PADS, place=BehindImages()),
        f"{SYSTEM}{IMAGE}{WRITTEN}{QUESTION}{SAID}{LOOK}{THEN}",
        f"{LOOK}<|im_end|>B<|im_end|>",
    ),
    "generate": (
        PaddedConversation(pads=PADS, place=ASKED),
        f"{SYSTEM}{IMAGE}What is the feature, depth map of the image?{SAID}{WRITTEN}<|im_end|>\n",
        f"{WRITTEN}<|im_end|>",
    ),
    "reason": (
        PaddedConversation(pads=PADS),
        f"{SYSTEM}{IMAGE}{QUESTION}{SAID}{WRITTEN}{LOOK}{THEN}",
        f"{WRITTEN}{LOOK}<|im_end|>B<|im_end|>",
    ),
    "reason, no tools": (
        PaddedConversation(pads=PADS, place=AheadOfReasoning(close="\n"), turns="last"),
        f"{SYSTEM}{IMAGE}{QUESTION}{SAID}{WRITTEN}\nB<|im_end|>\n",
        f"{WRITTEN}\nB<|im_end|>",
    ),
    "understand, no tools": (
        PaddedConversation(pads=PADS, place=BehindImages(), turns="last"),
        f"{SYSTEM}{IMAGE}{WRITTEN}{QUESTION}{SAID}B<|im_end|>\n",
        "B<|im_end|>",
    ),
    "efficient": (
        PaddedConversation(pads=PADS, place=TOLD, kinds=SomeKinds(none=0, seed=5)),
        f"{SYSTEM}{IMAGE}{QUESTION}{SAID}Because <|dino_pad|><|dino_pad|>, {LOOK}{THEN}",
        f"Because <|dino_pad|><|dino_pad|>, {LOOK}<|im_end|>B<|im_end|>",
    ),
    "efficient, plain": (
        PaddedConversation(pads=PADS, place=TOLD, kinds=SomeKinds(none=0.999)),
        f"{SYSTEM}{IMAGE}{QUESTION}{SAID}{LOOK}{THEN}",
        f"{LOOK}<|im_end|>B<|im_end|>",
    ),
}


@pytest.mark.parametrize("stage", GOLDEN)
def test_every_covt_stage_has_the_expected_text_and_labels(stage):
    view, text, trained = GOLDEN[stage]
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl", added_tokens=TOKENS)
    serializer = Serializer(processor=backbone.processor, adapter=backbone.adapter)
    (trajectory,) = jv.playground.trajectories("visual-search", count=1)
    (found,) = serializer.views(trajectory, [Request(view)])
    assert found.text == text
    assert backbone.tokenizer.decode(found.labels[found.labels != IGNORED]) == trained
    ids = backbone.added.ids
    kept = [ids["<|dino_pad|>"]] * text.count("<|dino_pad|>") + [ids["<|depth_pad|>"]] * text.count("<|depth_pad|>")
    assert found.input_ids[found.marks["pads"]].tolist() == kept
    assert found.images == ((0,) if stage == "generate" or view.turns == "last" else (0, 1))
    assert found.content[found.marks["pads"]].all()


def test_expert_tokens_follow_the_last_image_inside_a_question():
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl", added_tokens=TOKENS)
    serializer = Serializer(processor=backbone.processor, adapter=backbone.adapter)
    one, other = (drawn.images[0] for drawn in jv.playground.trajectories("visual-search", count=2))
    question, places = "Is  like  or not?", (3, 9)
    trajectory = jv.Trajectory("x", (one, other), question, (jv.Step("Yes"),), "Yes", image_places=places)
    view = PaddedConversation(pads=PADS, place=BehindImages())
    (found,) = serializer.views(trajectory, [Request(view)])
    assert f"Is {IMAGE} like {IMAGE}{WRITTEN} or not?" in found.text


def test_a_request_for_expert_tokens_needs_a_view_that_has_them():
    with pytest.raises(ValueError, match="can be read at"):
        Request(view=Conversation(), at="pads")
