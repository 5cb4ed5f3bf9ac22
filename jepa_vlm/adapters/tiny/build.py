"""Builds a tiny model offline: its tokenizer, its processor, its configuration and seeded random weights."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import torch
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText, PretrainedConfig, PreTrainedModel
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX, Qwen2Tokenizer

from jepa_vlm import playground
from jepa_vlm.adapters.processors import image_only, require_torchvision
from jepa_vlm.adapters.tiny.model import WIDTH, TinyModel, Vocabulary

SCALE = WIDTH**-0.5  # of the weights: the large models' 0.02 would bound the logits of so small a head near zero
CALL_TAGS = ("<tool_call>", "</tool_call>")  # words of the vocabulary, not structure: a text may hold them


def build_tiny(tiny: TinyModel, *, seed: int = 0) -> tuple[PreTrainedModel, Any]:
    """Return a model with seeded random weights, and its processor.

    Args:
        tiny: Row of the table.
        seed: Random seed of the weights.

    Raises:
        BackboneError: If the processor needs torchvision and that does not import.
    """
    if tiny.torchvision:
        require_torchvision(tiny.processor)
    tokenizer = tiny_tokenizer(tiny.vocabulary)
    processor = _processor(tiny, tokenizer)  # before the configuration: PaliGemma's adds tokens to the vocabulary
    config = tiny_config(tiny, tokenizer)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(config)
        for parameter in model.parameters():  # gates and projections that a pretraining would have opened
            if not parameter.any() and (parameter.ndim > 1 or parameter.numel() == 1):
                nn.init.normal_(parameter, std=SCALE if parameter.ndim > 1 else 1.0)
    ends = (tokenizer.convert_tokens_to_ids(stop) for stop in tiny.stops)
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, *ends]
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model.eval(), processor


def tiny_config(tiny: TinyModel, tokenizer: Any) -> PretrainedConfig:
    """Return the configuration of a tiny model with this tokenizer."""
    sizes = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": SCALE,
    }
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in tiny.token_ids.items()}
    parts = {"text_config": {**sizes, **tiny.text}, "vision_config": tiny.vision, **tiny.config, **ids}
    # A copy: configurations and processors keep what they are given, and change it.
    config: PretrainedConfig = AutoConfig.for_model(tiny.family, **deepcopy(parts))
    return config


def _processor(tiny: TinyModel, tokenizer: Any) -> Any:
    """Return the family's processor; its video slot, if it has one, is left out."""
    kind: Any = getattr(transformers, tiny.processor)
    parts: dict[str, Any] = {
        "image_processor": getattr(transformers, tiny.image_processor)(**deepcopy(tiny.image_settings)),
        "tokenizer": tokenizer,
        "chat_template": tiny.template or None,
    }
    if "video_processor" in kind.get_attributes():
        kind, parts["video_processor"] = image_only(kind), None
    return kind(**parts, **tiny.processor_settings)


def tiny_tokenizer(vocabulary: Vocabulary) -> Any:
    """Return a byte-level BPE tokenizer, lossless on any text, in which each word of the playground is one token."""
    core = Tokenizer(models.BPE())
    core.normalizer = normalizers.NFC()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=100_000,
        min_frequency=1,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    words = sorted({*vocabulary.words, *playground.words()})
    core.train_from_iterator([form for word in words for form in (word, f" {word}")], trainer)
    learned = json.loads(core.to_str())["model"]
    merges: Any = [tuple(merge) for merge in learned["merges"]]
    named: Any = {"extra_special_tokens": dict(vocabulary.named)} if vocabulary.named else {}
    tokenizer = Qwen2Tokenizer(vocab=learned["vocab"], merges=merges, model_max_length=4096, **named)
    specials = [AddedToken(token, special=True, normalized=False) for token in vocabulary.specials]
    tokenizer.add_tokens(specials, special_tokens=True)
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in CALL_TAGS])
    tokenizer.eos_token, tokenizer.pad_token = vocabulary.eos, vocabulary.pad
    if vocabulary.bos is not None:
        tokenizer.bos_token = vocabulary.bos
    return tokenizer
