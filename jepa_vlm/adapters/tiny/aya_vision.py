"""A small Aya Vision on Cohere2: tiles with names, a window on three layers of four, no positions on the fourth."""

from __future__ import annotations

from typing import Any

from transformers import AyaVisionConfig, AyaVisionProcessor, Cohere2Config, PreTrainedModel, SiglipVisionConfig
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

from jepa_vlm.adapters.tiny.parts import made, rotary, text_sizes, vision_sizes
from jepa_vlm.adapters.tiny.tokenizer import identifiers, tiny_tokenizer

SIDE, PATCH, SHRINK, WINDOW = 56, 14, 2, 24
SPECIALS = (
    "<PAD>", "<BOS_TOKEN>", "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>",
    "<image>", "<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "<|IMG_LINE_BREAK|>", "TILE", "TILE_GLOBAL",
)  # fmt: skip
TEMPLATE = """\
{{- '<BOS_TOKEN>' -}}
{%- for message in messages -%}
{{- '<|START_OF_TURN_TOKEN|>' + ('<|USER_TOKEN|>' if message.role == 'user' else '<|CHATBOT_TOKEN|>') -}}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}{{ '<image>' }}{%- else -%}{{ part.text }}{%- endif -%}
{%- endfor -%}
{{- '<|END_OF_TURN_TOKEN|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{%- endif -%}
"""


def tiny_aya_vision(*, seed: int = 0) -> tuple[PreTrainedModel, Any]:
    """Return the model with random weights, and its processor."""
    tokenizer = tiny_tokenizer(words=(), specials=SPECIALS, bos="<BOS_TOKEN>", eos="<|END_OF_TURN_TOKEN|>", pad="<PAD>")
    config = AyaVisionConfig(
        text_config=Cohere2Config(
            **text_sizes(
                tokenizer,
                layer_types=["sliding_attention", "full_attention"],
                sliding_window=WINDOW,
                rope_parameters=rotary(),
                tie_word_embeddings=True,
            )
        ),
        vision_config=SiglipVisionConfig(**vision_sizes(SIDE, PATCH, vision_use_head=False)),
        downsample_factor=SHRINK,
        image_token_index=identifiers(tokenizer)("<|IMG_PATCH|>"),
        tie_word_embeddings=True,
    )
    image_processor = GotOcr2ImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, min_patches=1, max_patches=4, crop_to_patches=True
    )
    settings: dict[str, Any] = {"patch_size": PATCH, "img_size": SIDE, "downsample_factor": SHRINK}
    return made(config, AyaVisionProcessor, image_processor, tokenizer, TEMPLATE, seed=seed, **settings)
