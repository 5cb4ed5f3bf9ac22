"""A small Qwen3.5: one layer of linear attention, one of full attention; its template thinks unless told not to."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel, Qwen3_5Config, Qwen3VLProcessor

from jepa_vlm.adapters.tiny.chatml import QWEN_IMAGE, chatml, qwen_image_ids, qwen_tokenizer
from jepa_vlm.adapters.tiny.parts import made, qwen_image_processor, rotary, text_sizes, tower_sizes


def tiny_qwen3_5(*, seed: int = 0) -> tuple[PreTrainedModel, Any]:
    """Return the model with random weights, and its processor."""
    tokenizer = qwen_tokenizer()
    config = Qwen3_5Config(
        text_config=text_sizes(
            tokenizer,
            head_dim=16,
            layer_types=["linear_attention", "full_attention"],
            linear_num_key_heads=2,
            linear_num_value_heads=4,
            linear_key_head_dim=16,
            linear_value_head_dim=16,
            rope_parameters=rotary(mrope_section=[3, 3, 2], mrope_interleaved=True, partial_rotary_factor=1.0),
            tie_word_embeddings=True,
        ),
        vision_config=tower_sizes(num_position_embeddings=64),
        tie_word_embeddings=True,
        **qwen_image_ids(tokenizer),
    )
    template = chatml(QWEN_IMAGE, system=False, thinks=True)
    stops = ("<|endoftext|>",)
    return made(config, Qwen3VLProcessor, qwen_image_processor(), tokenizer, template, seed=seed, stops=stops)
