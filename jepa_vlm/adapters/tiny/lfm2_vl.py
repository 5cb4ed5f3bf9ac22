"""A small LFM2-VL: a convolution, then attention; tiles between markers. Its image processor needs torchvision."""

from __future__ import annotations

from typing import Any

from transformers import Lfm2Config, Lfm2VlConfig, PreTrainedModel, Siglip2VisionConfig

from jepa_vlm.adapters.processors import require_torchvision
from jepa_vlm.adapters.tiny.parts import made, rotary, text_sizes, vision_sizes
from jepa_vlm.adapters.tiny.tokenizer import identifiers, tiny_tokenizer

PATCH, SHRINK, TILE = 8, 2, 64
SPECIALS = (
    "<|pad|>", "<|startoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<|image_start|>", "<|image_end|>",
    "<|img_thumbnail|>", *(f"<|img_row_{row}_col_{column}|>" for row in range(1, 5) for column in range(1, 5)),
)  # fmt: skip
TEMPLATE = """\
{{- '<|startoftext|>' -}}
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' -}}
{%- if message.role == 'system' -%}
{{ message.content + '' }}
{%- else -%}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}{{ '<image>' }}{%- else -%}{{ part.text }}{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
"""


def tiny_lfm2_vl(*, seed: int = 0) -> tuple[PreTrainedModel, Any]:
    """Return the model with random weights, and its processor.

    Raises:
        BackboneError: If torchvision does not import.
    """
    require_torchvision("Lfm2VlImageProcessor")
    from transformers import Lfm2VlProcessor
    from transformers.models.lfm2_vl.image_processing_lfm2_vl import Lfm2VlImageProcessor

    tokenizer = tiny_tokenizer(
        words=("system", "user", "assistant"),
        specials=SPECIALS,
        bos="<|startoftext|>",
        eos="<|im_end|>",
        pad="<|pad|>",
        named={"image_token": "<image>"},
    )
    text = text_sizes(tokenizer, layer_types=["conv", "full_attention"], rope_parameters=rotary())
    config = Lfm2VlConfig(
        text_config=Lfm2Config(**text, block_auto_adjust_ff_dim=False, tie_word_embeddings=True),
        vision_config=Siglip2VisionConfig(
            **vision_sizes(TILE, PATCH, num_patches=(TILE // PATCH) ** 2, vision_use_head=False)
        ),
        image_token_id=identifiers(tokenizer)("<image>"),
        downsample_factor=SHRINK,
        projector_hidden_size=64,
        tie_word_embeddings=True,
    )
    image_processor = Lfm2VlImageProcessor(
        encoder_patch_size=PATCH,
        downsample_factor=SHRINK,
        tile_size=TILE,
        min_image_tokens=4,
        max_image_tokens=16,
        max_tiles=4,
        size={"height": TILE, "width": TILE},
    )
    return made(config, Lfm2VlProcessor, image_processor, tokenizer, TEMPLATE, seed=seed)
