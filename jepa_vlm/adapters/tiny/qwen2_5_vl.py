"""A Qwen2.5-VL of about a million parameters: the architecture of the embedded backbone."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor

from jepa_vlm.adapters.processors import image_only
from jepa_vlm.adapters.tiny.chatml import QWEN_IMAGE, chatml, qwen_image_ids, qwen_tokenizer
from jepa_vlm.adapters.tiny.parts import MERGE, PATCH, SIDE, qwen_image_processor
from jepa_vlm.adapters.tiny.tokenizer import identifiers

TEMPLATE = chatml(QWEN_IMAGE)
SCALE = 128**-0.5  # of the weights: the large model's 0.02 would bound the logits of so small a head near zero


def tiny_qwen2_5_vl(*, seed: int = 0) -> tuple[PreTrainedModel, Any]:
    """Return a Qwen2.5-VL of about a million parameters with random weights, and its processor.

    An image of 112 x 112 pixels becomes 7 x 7 tokens. All vision layers attend to the whole image, and rotary theta is
    1e4: with the large model's 1e6 and heads this small, the slowest axes would barely turn across an image.

    Args:
        seed: Of the weights.
    """
    tokenizer = qwen_tokenizer()
    ids = identifiers(tokenizer)
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
            "eos_token_id": ids("<|im_end|>"),
            "pad_token_id": ids("<|endoftext|>"),
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
        **qwen_image_ids(tokenizer),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = [ids("<|im_end|>"), ids("<|endoftext|>")]
    model.generation_config.pad_token_id = ids("<|endoftext|>")
    processor = image_only(Qwen2_5_VLProcessor)(qwen_image_processor(), tokenizer, chat_template=TEMPLATE)
    return model.eval(), processor
