"""Parts that the tiny models share: sizes, weights and processors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForImageTextToText, PretrainedConfig, PreTrainedModel, ProcessorMixin
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from jepa_vlm.adapters.processors import image_only

WIDTH = 64
SCALE = WIDTH**-0.5  # of the weights: the large models' 0.02 would bound the logits of so small a head near zero
PATCH, MERGE, SIDE = 8, 2, 112


def text_sizes(tokenizer: Any, **more: Any) -> dict[str, Any]:
    """Return a decoder's configuration: two layers of width 64, two heads of keys for four of queries."""
    return {
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
        **more,
    }


def vision_sizes(side: int, patch: int = 14, **more: Any) -> dict[str, Any]:
    """Return the configuration of a CLIP or SigLIP tower: two layers of width 32."""
    return {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": side,
        "patch_size": patch,
        "initializer_range": 32**-0.5,
        **more,
    }


def tower_sizes(**more: Any) -> dict[str, Any]:
    """Return the configuration of a tower of Qwen's kind: two layers of width 32, tokens of 16 x 16 pixels."""
    return {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "depth": 2,
        "out_hidden_size": WIDTH,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": 2,
        "initializer_range": 32**-0.5,
        **more,
    }


def rotary(**more: Any) -> dict[str, Any]:
    """Return rotary settings; with the large models' theta, heads this small would barely turn across an image."""
    return {"rope_type": "default", "rope_theta": 1e4, **more}


def qwen_image_processor() -> Qwen2VLImageProcessorPil:
    """Return an image processor that makes 7 x 7 tokens of 112 x 112 pixels."""
    side = PATCH * MERGE
    return Qwen2VLImageProcessorPil(
        patch_size=PATCH, merge_size=MERGE, size={"shortest_edge": side * side, "longest_edge": 4 * SIDE * SIDE}
    )


def made(
    config: PretrainedConfig,
    processor_class: type[ProcessorMixin],
    image_processor: Any,
    tokenizer: Any,
    template: str,
    *,
    seed: int,
    stops: Sequence[str] = (),
    **settings: Any,
) -> tuple[PreTrainedModel, Any]:
    """Return a model with seeded random weights, and its processor.

    Args:
        config: The model's.
        processor_class: The family's; its video slot, if it has one, is left out.
        image_processor, tokenizer, template: Its parts.
        seed: Of the weights.
        stops: Tokens that end generation besides the tokenizer's own.
        **settings: Of the processor.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(config)
        for parameter in model.parameters():  # gates and projections that a pretraining would have opened
            if not parameter.any() and (parameter.ndim > 1 or parameter.numel() == 1):
                nn.init.normal_(parameter, std=SCALE if parameter.ndim > 1 else 1.0)
    ends = [tokenizer.eos_token_id, *(tokenizer.convert_tokens_to_ids(stop) for stop in stops)]
    model.generation_config.eos_token_id = ends
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    parts = {"image_processor": image_processor, "tokenizer": tokenizer, "chat_template": template}
    has_video = "video_processor" in processor_class.get_attributes()
    kind: Any = image_only(processor_class) if has_video else processor_class
    return model.eval(), kind(**parts, **({"video_processor": None} if has_video else {}), **settings)
