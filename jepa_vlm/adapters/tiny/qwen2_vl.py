"""A small Qwen2-VL."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel, Qwen2VLConfig, Qwen2VLProcessor

from jepa_vlm.adapters.tiny.chatml import QWEN_IMAGE, chatml, qwen_image_ids, qwen_tokenizer
from jepa_vlm.adapters.tiny.parts import MERGE, PATCH, WIDTH, made, qwen_image_processor, rotary, text_sizes


def tiny_qwen2_vl(*, seed: int = 0) -> tuple[PreTrainedModel, Any]:
    """Return the model with random weights, and its processor."""
    tokenizer = qwen_tokenizer()
    config = Qwen2VLConfig(
        text_config=text_sizes(tokenizer, rope_parameters=rotary(mrope_section=[2, 3, 3]), tie_word_embeddings=True),
        vision_config={
            "embed_dim": 32,
            "hidden_size": WIDTH,
            "num_heads": 2,
            "depth": 2,
            "mlp_ratio": 2,
            "patch_size": PATCH,
            "spatial_merge_size": MERGE,
            "initializer_range": 32**-0.5,
        },
        tie_word_embeddings=True,
        **qwen_image_ids(tokenizer),
    )
    template = chatml(QWEN_IMAGE)
    stops = ("<|endoftext|>",)
    return made(config, Qwen2VLProcessor, qwen_image_processor(), tokenizer, template, seed=seed, stops=stops)
