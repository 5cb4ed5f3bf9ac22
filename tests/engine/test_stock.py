"""A model whose attention cannot be chosen is refused: its own would let packed views see each other."""

from __future__ import annotations

import pytest

import jepa_vlm as jv
from jepa_vlm.engine.engine import call_attention
from jepa_vlm.errors import BackboneError


def test_an_attention_that_the_model_refuses_is_one_message():
    base = jv.load_backbone("tiny-random-llava").base
    with pytest.raises(BackboneError, match=r"family 'llava' cannot call the attention .*no_such"):
        call_attention(base, {"text_config": "no_such"})


def test_an_attention_that_is_silently_kept_is_one_message(monkeypatch):
    backbone = jv.load_backbone("tiny-random-llava")
    monkeypatch.setattr(type(backbone.base), "set_attn_implementation", lambda self, names: None)
    with pytest.raises(BackboneError, match="keeps the attention 'sdpa' where 'jepa_vlm_packed' is needed"):
        jv.LatentVLM(backbone, jv.NextToken())


def test_an_error_without_words_is_named(monkeypatch):
    def fails(self, names):
        raise ValueError

    base = jv.load_backbone("tiny-random-llava").base
    monkeypatch.setattr(type(base), "set_attn_implementation", fails)
    with pytest.raises(BackboneError, match=r"cannot call the attention .*: ValueError"):
        call_attention(base, {"text_config": "any"})
