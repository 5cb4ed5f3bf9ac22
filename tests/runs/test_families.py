"""A recipe from start to end on other families, and on a folder of the public checkpoint's layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2.tokenization_qwen2 import Qwen2Tokenizer

import jepa_vlm as jv
from jepa_vlm.runs import data

SMALL = {"steps": 2, "batch_size": 2, "validate_every": 2, "questions": 4}
# The added tokens of Qwen2.5-VL's tokenizer, in the order of their identifiers from 151643 on.
SPECIALS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
PLAIN = (
    "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>",
    "<|file_sep|>",
)  # fmt: skip
FIRST_ADDED, ROWS = 151643, 151936


@pytest.fixture(autouse=True)
def little_data(monkeypatch):
    monkeypatch.setattr(data, "TRAIN", 6)
    monkeypatch.setattr(data, "VALIDATION", 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen3-vl", "smolvlm", "internvl", "gemma3", "qwen3.5"])
def test_pearl_trains_evaluates_and_exports(name, tmp_path):
    result = jv.train("pearl", backbone=f"tiny-random-{name}", output=tmp_path / "run", **SMALL)
    assert result.accuracy["after"]["letter-logits"]["overall"]["n"] == 4
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    apart = name == "qwen3.5"
    engine = (
        {"value": "separate", "origin": "backbone profile"} if apart else {"value": "one_pass", "origin": "default"}
    )
    assert config["engine"] == engine
    assert {"name", "modules", "trainable", "frozen"} == set(config["parts"][0])
    exported = jv.load_backbone(result.export)
    base = jv.load_backbone(f"tiny-random-{name}")
    shapes = [{n: p.shape for n, p in each.base.named_parameters()} for each in (exported, base)]
    assert shapes[0] == shapes[1]


@pytest.fixture(scope="module")
def public_layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Qwen2.5-VL-3B's vocabulary, special tokens, image processor and layer kinds, narrow and with few layers."""
    tiny = jv.load_backbone("tiny-random-qwen2.5-vl")
    core = json.loads(tiny.tokenizer.backend_tokenizer.to_str())["model"]
    known = {token: i for token, i in core["vocab"].items() if i < FIRST_ADDED}
    filler = {f"\u0120unused{i}": i for i in range(len(known), FIRST_ADDED)}
    tokenizer = Qwen2Tokenizer(vocab={**known, **filler}, merges=[tuple(merge) for merge in core["merges"]])
    tokenizer.add_tokens(list(SPECIALS), special_tokens=True)
    tokenizer.add_tokens(list(PLAIN))
    tokenizer.eos_token, tokenizer.pad_token = "<|im_end|>", "<|endoftext|>"
    assert tokenizer.convert_tokens_to_ids("<|image_pad|>") == 151655
    assert len(tokenizer) == 151665
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": ROWS,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]},
            "bos_token_id": 151643,
            "eos_token_id": 151645,
            "tie_word_embeddings": True,
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "depth": 2,
            "out_hidden_size": 32,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 112,
            "fullatt_block_indexes": [1],
        },
        tie_word_embeddings=True,
        image_token_id=151655,
        video_token_id=151656,
        vision_start_token_id=151652,
        vision_end_token_id=151653,
    )
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("layout")
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    processor = tiny.processor
    processor.tokenizer = tokenizer
    image_processor = processor.image_processor
    image_processor.patch_size, image_processor.merge_size = 14, 2
    image_processor.size = {"shortest_edge": 3136, "longest_edge": 12845056}
    processor.save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_a_folder_of_the_public_layout_is_trained_exported_and_reloaded(public_layout, tmp_path):
    backbone = jv.load_backbone(str(public_layout))
    assert backbone.base.get_input_embeddings().num_embeddings == ROWS
    result = jv.train("pearl", backbone=str(public_layout), output=tmp_path / "run", **SMALL)
    stock = AutoModelForImageTextToText.from_pretrained(result.export)
    assert stock.get_input_embeddings().num_embeddings == ROWS  # more rows than the tokenizer has tokens, and kept
    assert stock.config.image_token_id == 151655
    assert len(jv.load_backbone(result.export).tokenizer) == 151665
