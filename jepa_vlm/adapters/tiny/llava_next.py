"""A small LLaVA-NeXT on Mistral: an image is read whole and in tiles, and Mistral's window slides."""

from __future__ import annotations

from typing import Any

from transformers import CLIPVisionConfig, LlavaNextConfig, LlavaNextProcessor, MistralConfig, PreTrainedModel
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

from jepa_vlm.adapters.tiny.llava import llava_tokenizer
from jepa_vlm.adapters.tiny.parts import made, rotary, text_sizes, vision_sizes
from jepa_vlm.adapters.tiny.tokenizer import identifiers

SIDE, WINDOW = 28, 24
PINPOINTS = [[28, 56], [56, 28], [56, 56]]
TEMPLATE = """\
{{- '<s>' -}}
{%- for message in messages -%}
{{- '[INST] ' if message.role == 'user' else ' ' -}}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}{{ '<image>\\n' }}{%- else -%}{{ part.text }}{%- endif -%}
{%- endfor -%}
{{- ' [/INST]' if message.role == 'user' else '</s>' -}}
{%- endfor -%}
"""


def tiny_llava_next(*, seed: int = 0) -> tuple[PreTrainedModel, Any]:
    """Return the model with random weights, and its processor."""
    tokenizer = llava_tokenizer("INST", "[", "]", "[/")
    config = LlavaNextConfig(
        text_config=MistralConfig(**text_sizes(tokenizer, sliding_window=WINDOW, rope_parameters=rotary())),
        vision_config=CLIPVisionConfig(**vision_sizes(SIDE)),
        image_token_index=identifiers(tokenizer)("<image>"),
        image_grid_pinpoints=PINPOINTS,
        image_seq_length=4,
    )
    image_processor = LlavaNextImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, image_grid_pinpoints=PINPOINTS
    )
    return made(
        config,
        LlavaNextProcessor,
        image_processor,
        tokenizer,
        TEMPLATE,
        seed=seed,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
