"""Small Qwen3-VLs, dense and with experts. Their template, unlike Qwen2.5-VL's, adds no system turn."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel, Qwen3VLConfig, Qwen3VLMoeConfig, Qwen3VLProcessor

from jepa_vlm.adapters.tiny.chatml import QWEN_IMAGE, chatml, qwen_image_ids, qwen_tokenizer
from jepa_vlm.adapters.tiny.parts import made, qwen_image_processor, rotary, text_sizes, tower_sizes

EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "decoder_sparse_step": 1}


def tiny_qwen3_vl(*, seed: int = 0) -> tuple[PreTrainedModel, Any]:
    """Return the dense model with random weights, and its processor."""
    return _made(Qwen3VLConfig, {}, tied=True, seed=seed)


def tiny_qwen3_vl_moe(*, seed: int = 0) -> tuple[PreTrainedModel, Any]:
    """Return the model with experts, with random weights and a head of its own, and its processor."""
    return _made(Qwen3VLMoeConfig, EXPERTS, tied=False, seed=seed)


def _made(config_class: Any, more: dict[str, int], *, tied: bool, seed: int) -> tuple[PreTrainedModel, Any]:
    tokenizer = qwen_tokenizer()
    config = config_class(
        text_config=text_sizes(
            tokenizer,
            head_dim=16,
            rope_parameters=rotary(mrope_section=[3, 3, 2], mrope_interleaved=True),
            tie_word_embeddings=tied,
            **more,
        ),
        vision_config=tower_sizes(deepstack_visual_indexes=[0, 1], num_position_embeddings=64),
        tie_word_embeddings=tied,
        **qwen_image_ids(tokenizer),
    )
    template = chatml(QWEN_IMAGE, system=False)
    stops = ("<|endoftext|>",)
    return made(config, Qwen3VLProcessor, qwen_image_processor(), tokenizer, template, seed=seed, stops=stops)
