"""Pads stand ahead of the reasoning, are trained or not, and change nothing else."""

from __future__ import annotations

import pytest
import torch

import jepa_vlm as jv
from jepa_vlm.errors import DataError
from jepa_vlm.serialization import IGNORED, Serializer
from jepa_vlm.views import Conversation, Encoding, PaddedConversation, Pads, ViewRequest, with_gradient

PADS = (Pads("<|dino_pad|>", 2, "Because "), Pads("<|depth_pad|>", 3, " and "))
TOKENS = ("<|dino_pad|>", "<|depth_pad|>")


def serialized(name, *views):
    backbone = jv.load_backbone(name, added_tokens=TOKENS)
    serializer = Serializer(processor=backbone.processor, adapter=backbone.adapter)
    (trajectory,) = jv.playground.trajectories("sequential-crops", count=1)
    encodings = [Encoding(view, with_gradient()) for view in views]
    return backbone, serializer.views(trajectory, encodings)


@pytest.mark.parametrize("name", ["tiny-random-qwen2.5-vl", "tiny-random-llava", "tiny-random-gemma3"])
def test_they_open_the_first_turn_and_change_nothing_else(name):
    view = PaddedConversation(pads=PADS, close=", ")
    backbone, (plain, padded) = serialized(name, Conversation(), view)
    opening = "Because <|dino_pad|><|dino_pad|> and <|depth_pad|><|depth_pad|><|depth_pad|>, "
    start = padded.text.index(opening)
    assert padded.text.count(opening) == 1
    assert plain.text[:start] + opening + plain.text[start:] == padded.text
    ids = list(backbone.added.ids.values())
    assert padded.input_ids[padded.pads].tolist() == [ids[0]] * 2 + [ids[1]] * 3
    assert not plain.pads.any()
    assert int(torch.isin(padded.input_ids, torch.tensor(ids)).sum()) == 5
    assert torch.equal(padded.labels[padded.pads], padded.input_ids[padded.pads])
    assert plain.image_tokens.sum() == padded.image_tokens.sum()
    last = (plain.labels != IGNORED).sum()
    assert (padded.labels != IGNORED).sum() >= last + 5


def test_unsupervised_pads_are_read_and_not_trained():
    views = [PaddedConversation(pads=PADS, supervised=supervised) for supervised in (True, False)]
    _, (trained, not_trained) = serialized("tiny-random-qwen2.5-vl", *views)
    assert torch.equal(trained.input_ids, not_trained.input_ids)
    assert (not_trained.labels[not_trained.pads] == IGNORED).all()
    assert torch.equal(trained.labels[~trained.pads], not_trained.labels[~trained.pads])


def test_a_text_that_spells_a_pad_is_refused():
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl", added_tokens=TOKENS)
    serializer = Serializer(processor=backbone.processor, adapter=backbone.adapter)
    (drawn,) = jv.playground.trajectories("visual-search", count=1)
    forged = jv.Trajectory("x", drawn.images, drawn.question, (jv.Step("<|dino_pad|> A"),), "A")
    with pytest.raises(DataError, match="special token"):
        serializer.views(forged, [Encoding(PaddedConversation(pads=PADS), with_gradient())])


def test_requests_and_views_refuse_what_has_no_pads():
    with pytest.raises(ValueError, match="has no pads"):
        ViewRequest(view=Conversation(), region="pads")
    with pytest.raises(ValueError, match="different tokens"):
        PaddedConversation(pads=(PADS[0], PADS[0]))
    with pytest.raises(ValueError, match="different tokens"):
        PaddedConversation(pads=())
