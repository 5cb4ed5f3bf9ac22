"""Tiny models of real architectures with seeded random weights, built offline: for tests, and for a first run."""

from __future__ import annotations

import json
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedModel, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX, Qwen2Tokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from jepa_vlm import playground
from jepa_vlm.adapters.processors import image_only

SPECIALS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
CALL_TAGS = ("<tool_call>", "</tool_call>")  # words of the vocabulary, not structure: a text may hold them

TEMPLATE = """\
{%- if messages[0].role != 'system' -%}
{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif -%}
{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' }}
{%- if message.content is string -%}
{{ message.content }}
{%- else -%}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}
{{ '<|vision_start|><|image_pad|><|vision_end|>' }}
{%- elif 'text' in part -%}
{{ part.text }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{ '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|im_start|>assistant\\n' }}
{%- endif -%}
"""
TEMPLATE_WORDS = ("system", "user", "assistant", "You", "are", "a", "helpful", ".")
PATCH, MERGE, SIDE = 8, 2, 112
SCALE = 128**-0.5  # of the weights: the large model's 0.02 would bound the logits of so small a head near zero


def tiny_qwen2_5_vl(*, seed: int = 0) -> tuple[PreTrainedModel, Any]:
    """Return a Qwen2.5-VL of about a million parameters with random weights, and its processor.

    An image of 112 x 112 pixels becomes 7 x 7 tokens. All vision layers attend to the whole image, and rotary theta is
    1e4: with the large model's 1e6 and heads this small, the slowest axes would barely turn across an image.

    Args:
        seed: Of the weights.
    """
    tokenizer = tiny_qwen_tokenizer((*TEMPLATE_WORDS, *playground.words()))
    ids: dict[str, int] = {token: tokenizer.get_vocab()[token] for token in SPECIALS}
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [6, 5, 5]},
            "bos_token_id": None,
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
            "tie_word_embeddings": True,
            "initializer_range": SCALE,
        },
        vision_config={
            "hidden_size": 96,
            "intermediate_size": 192,
            "num_heads": 3,
            "depth": 3,
            "out_hidden_size": 128,
            "patch_size": PATCH,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": 2,
            "window_size": SIDE,
            "fullatt_block_indexes": [0, 1, 2],
            "initializer_range": SCALE,
        },
        tie_word_embeddings=True,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = [ids["<|im_end|>"], ids["<|endoftext|>"]]
    model.generation_config.pad_token_id = ids["<|endoftext|>"]
    side = PATCH * MERGE
    image_processor = Qwen2VLImageProcessorPil(
        patch_size=PATCH, merge_size=MERGE, size={"shortest_edge": side * side, "longest_edge": 4 * SIDE * SIDE}
    )
    processor = image_only(Qwen2_5_VLProcessor)(image_processor, tokenizer, chat_template=TEMPLATE)
    return model.eval(), processor


def tiny_qwen_tokenizer(words: tuple[str, ...]) -> Qwen2Tokenizer:
    """Return a byte-level BPE tokenizer of Qwen's kind, lossless on any text, in which each of ``words`` is one token.

    Args:
        words: Each becomes one token, at the start of a line and after a space.
    """
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
    core.train_from_iterator([form for word in sorted(set(words)) for form in (word, f" {word}")], trainer)
    learned = json.loads(core.to_str())["model"]
    learned_merges: Any = [tuple(merge) for merge in learned["merges"]]
    tokenizer = Qwen2Tokenizer(vocab=learned["vocab"], merges=learned_merges, model_max_length=4096)
    tokenizer.add_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIALS], special_tokens=True)
    tokenizer.add_tokens([AddedToken(s, special=False, normalized=False) for s in CALL_TAGS])
    tokenizer.eos_token, tokenizer.pad_token = "<|im_end|>", "<|endoftext|>"
    return tokenizer
