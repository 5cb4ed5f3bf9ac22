"""A small BERT with seeded random weights: a text encoder for tests and for the tiny backbones."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedModel

from jepa_vlm.adapters.tiny.tokenizer import identifiers, tiny_tokenizer

WIDTH = 32


def tiny_bert(*, seed: int = 0) -> tuple[PreTrainedModel, Any]:
    """Return two layers of width 32 with random weights, without pooler and dropout, and a tokenizer."""
    tokenizer = tiny_tokenizer(words=(), specials=("[PAD]", "[CLS]", "[SEP]"), eos="[SEP]", pad="[PAD]")
    number = identifiers(tokenizer)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(token, number(token)) for token in ("[CLS]", "[SEP]")]
    )
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=128,
        initializer_range=WIDTH**-0.5,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return BertModel(config, add_pooling_layer=False), tokenizer
