"""A small LLaVA-OneVision: tiles for an image on its own, one tile for each of several."""

from __future__ import annotations

from typing import Any

from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionProcessor,
    PreTrainedModel,
    Qwen2Config,
    SiglipVisionConfig,
)
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil

from jepa_vlm.adapters.tiny.chatml import WORDS, chatml
from jepa_vlm.adapters.tiny.parts import made, rotary, text_sizes, vision_sizes
from jepa_vlm.adapters.tiny.tokenizer import identifiers, tiny_tokenizer

SIDE = 28
PINPOINTS = [[28, 56], [56, 28], [56, 56]]
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>")


def tiny_llava_onevision(*, seed: int = 0) -> tuple[PreTrainedModel, Any]:
    """Return the model with random weights, and its processor."""
    tokenizer = tiny_tokenizer(
        words=WORDS,
        specials=SPECIALS,
        eos="<|im_end|>",
        pad="<|endoftext|>",
        named={"image_token": "<image>", "video_token": "<video>"},
    )
    config = LlavaOnevisionConfig(
        text_config=Qwen2Config(**text_sizes(tokenizer, rope_parameters=rotary())),
        vision_config=SiglipVisionConfig(**vision_sizes(SIDE, vision_use_head=False)),
        image_token_index=identifiers(tokenizer)("<image>"),
        video_token_index=identifiers(tokenizer)("<video>"),
        image_grid_pinpoints=PINPOINTS,
    )
    image_processor = LlavaOnevisionImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, image_grid_pinpoints=PINPOINTS
    )
    return made(
        config,
        LlavaOnevisionProcessor,
        image_processor,
        tokenizer,
        chatml("<image>", system=False),
        seed=seed,
        stops=("<|endoftext|>",),
        num_image_tokens=4,
        vision_feature_select_strategy="full",
    )
