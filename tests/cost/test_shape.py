from __future__ import annotations

from types import SimpleNamespace

import pytest

from jepa_vlm.cost import DecoderShape, Shape

TEXT = {
    "num_hidden_layers": 2,
    "hidden_size": 8,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 12,
    "vocab_size": 50,
}
TOWER = {
    "depth": 3,
    "hidden_size": 16,
    "intermediate_size": 20,
    "out_hidden_size": 8,
    "patch_size": 4,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "in_channels": 3,
    "window_size": 16,
    "fullatt_block_indexes": [1],
}


def config(**text):
    return SimpleNamespace(text_config=SimpleNamespace(**{**TEXT, **text}), vision_config=SimpleNamespace(**TOWER))


def test_it_reads_plain_attributes():
    shape = Shape.of(config(), lora_rank=4)
    decoder = DecoderShape(layers=2, hidden=8, heads=4, kv_heads=2, head_dim=2, intermediate=12, vocab=50)
    assert shape.decoder == decoder
    assert shape.vision.full_blocks == 1
    assert shape.lora_rank == 4


def test_a_stated_head_dim_wins():
    assert Shape.of(config(head_dim=5)).decoder.projections()["k_proj"] == (8, 10)


def test_grouped_keys_and_values_are_narrow():
    assert Shape.of(config()).decoder.projections()["v_proj"] == (8, 4)


def test_a_config_of_another_kind_is_refused():
    with pytest.raises(ValueError, match=r"of Qwen2\.5-VL's kind; .*vision_config"):
        Shape.of(SimpleNamespace(text_config=SimpleNamespace(**TEXT)))


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="lora_rank must not be negative, got -1"):
        Shape.of(config(), lora_rank=-1)
    with pytest.raises(ValueError, match=r"lora_modules must be among .*; got lm_head"):
        Shape.of(config(), lora_modules=("lm_head",))
