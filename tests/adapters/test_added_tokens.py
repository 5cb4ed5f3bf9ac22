"""Added tokens are single tokens with embeddings of their own; the others stay unchanged."""

from __future__ import annotations

import pytest
import torch

import jepa_vlm as jv
from jepa_vlm.adapters.added_tokens import SPREAD, add_tokens
from jepa_vlm.errors import BackboneError

TIED, UNTIED = "tiny-random-qwen2.5-vl", "tiny-random-llava"
TOKENS = ("<|latent_start|>", "<|latent_end|>")


def tables(backbone):
    base = backbone.base
    return base.get_input_embeddings().weight, base.get_output_embeddings().weight


@pytest.mark.parametrize("name", [TIED, UNTIED])
def test_each_added_token_is_one_special_token_and_old_embeddings_stay(name):
    plain, grown = jv.load_backbone(name), jv.load_backbone(name, added_tokens=TOKENS)
    old = len(plain.tokenizer)
    assert plain.added is None
    assert grown.added.ids == {TOKENS[0]: old, TOKENS[1]: old + 1}
    written = grown.tokenizer(f"a{TOKENS[0]}b{TOKENS[1]}", add_special_tokens=False).input_ids
    assert [i for i in written if i >= old] == [old, old + 1]
    assert grown.tokenizer.decode(written, skip_special_tokens=True) == "ab"
    for before, after in zip(tables(plain), tables(grown), strict=True):
        assert torch.equal(before, after[:old])
        assert len(after) == old + 2 == grown.base.config.get_text_config().vocab_size
    assert (tables(grown)[0] is tables(grown)[1]) == grown.added.tied == (name == TIED)


def test_embeddings_of_added_tokens_start_near_the_mean_and_depend_on_the_seed():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    many = tuple(f"<|{i}|>" for i in range(400))
    backbone = jv.load_backbone(TIED, added_tokens=many, seed=1)
    assert torch.equal(torch.rand(2), expected)  # torch's own generator is left alone
    table = tables(backbone)[0].detach()
    old, new = table[:-400].double(), table[-400:].double()
    standard = (new - old.mean(0)) / old.std(0, unbiased=False)
    assert standard.std().item() == pytest.approx(SPREAD, rel=0.01)
    assert standard.mean().abs().item() < 0.002
    assert torch.equal(table, tables(jv.load_backbone(TIED, added_tokens=many, seed=1))[0])
    base = jv.load_backbone(TIED, seed=1)
    add_tokens(base.base, base.tokenizer, many, seed=2)
    assert not torch.equal(table[-400:], tables(base)[0][-400:])


def test_the_mean_is_over_every_old_embedding_whatever_the_chunk_size(monkeypatch):
    whole = tables(jv.load_backbone(UNTIED, added_tokens=TOKENS))
    monkeypatch.setattr("jepa_vlm.adapters.added_tokens.CHUNK", 100)
    for one, other in zip(whole, tables(jv.load_backbone(UNTIED, added_tokens=TOKENS)), strict=True):
        torch.testing.assert_close(one, other)


def test_spare_embedding_rows_are_used_and_never_removed():
    backbone = jv.load_backbone(TIED)
    old = len(backbone.tokenizer)
    backbone.base.resize_token_embeddings(old + 50, mean_resizing=False)
    with torch.no_grad():
        tables(backbone)[0][old:] = 7.0  # as nobody trained them
    added = add_tokens(backbone.base, backbone.tokenizer, TOKENS, seed=0)
    table = tables(backbone)[0]
    assert len(table) == old + 50
    assert set(added.ids.values()) == {old, old + 1}
    assert (table[old + 2 :] == 7.0).all()
    assert (table[old : old + 2].abs() < 2).all()  # drawn anew, from the rows of real tokens alone
    assert added.before["lm_head.weight"] == tuple(table.shape)


def test_a_vocabulary_that_has_the_added_tokens_is_left_unchanged(tmp_path):
    backbone = jv.load_backbone(UNTIED, added_tokens=TOKENS)
    backbone.base.save_pretrained(tmp_path)
    backbone.processor.save_pretrained(tmp_path)
    again = jv.load_backbone(str(tmp_path), added_tokens=TOKENS, seed=9)
    assert again.added.ids == backbone.added.ids
    assert again.added.before == {name: tuple(t.shape) for name, t in again.base.state_dict().items()}
    for one, other in zip(tables(backbone), tables(again), strict=True):
        assert torch.equal(one, other)
    half = jv.load_backbone(str(tmp_path), added_tokens=(TOKENS[1], "<|more|>"))
    assert half.added.ids == {TOKENS[1]: backbone.added.ids[TOKENS[1]], "<|more|>": len(backbone.tokenizer)}


def test_a_known_word_that_is_several_tokens_in_a_text_is_refused():
    backbone = jv.load_backbone(TIED)
    piece = next(t for t in backbone.tokenizer.get_vocab() if t.startswith("Ġ"))  # how a space is spelled inside
    with pytest.raises(BackboneError, match="is read as"):
        add_tokens(backbone.base, backbone.tokenizer, (piece,), seed=0)


def test_a_model_whose_head_knows_fewer_tokens_is_refused():
    with pytest.raises(BackboneError, match="a row for each token"):
        jv.load_backbone("tiny-random-mllama", added_tokens=TOKENS)
