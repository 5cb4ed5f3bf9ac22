"""A small InternVL: an image is cut into tiles, with a thumbnail of the whole."""

from __future__ import annotations

from typing import Any

from transformers import InternVLConfig, InternVLProcessor, InternVLVisionConfig, PreTrainedModel, Qwen2Config
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

from jepa_vlm.adapters.tiny.chatml import WORDS, chatml
from jepa_vlm.adapters.tiny.parts import made, rotary, text_sizes, vision_sizes
from jepa_vlm.adapters.tiny.tokenizer import identifiers, tiny_tokenizer

SIDE = 56
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>")


def tiny_internvl(*, seed: int = 0) -> tuple[PreTrainedModel, Any]:
    """Return the model with random weights, and its processor."""
    tokenizer = tiny_tokenizer(
        words=WORDS,
        specials=SPECIALS,
        eos="<|im_end|>",
        pad="<|endoftext|>",
        named={
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
    )
    vision = vision_sizes(SIDE, image_size=[SIDE, SIDE], patch_size=[14, 14], num_hidden_layers=2)
    config = InternVLConfig(
        text_config=Qwen2Config(**text_sizes(tokenizer, rope_parameters=rotary())),
        vision_config=InternVLVisionConfig(**vision),
        image_token_id=identifiers(tokenizer)("<IMG_CONTEXT>"),
        image_seq_length=4,
        downsample_ratio=0.5,
    )
    image_processor = GotOcr2ImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, min_patches=1, max_patches=4, crop_to_patches=True
    )
    return made(
        config,
        InternVLProcessor,
        image_processor,
        tokenizer,
        chatml("<IMG_CONTEXT>\\n", system=False),
        seed=seed,
        stops=("<|endoftext|>",),
        image_seq_length=4,
    )
