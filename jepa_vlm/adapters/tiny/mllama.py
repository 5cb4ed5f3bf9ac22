"""A small Mllama: one layer of self-attention, one that looks at the images."""

from __future__ import annotations

from typing import Any

from transformers import MllamaConfig, MllamaProcessor, PreTrainedModel
from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil

from jepa_vlm.adapters.tiny.parts import made, rotary, text_sizes
from jepa_vlm.adapters.tiny.tokenizer import identifiers, tiny_tokenizer

SIDE, TILES = 28, 4
SPECIALS = (
    "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
    "<|finetune_right_pad_id|>", "<|python_tag|>", "<|image|>",
)  # fmt: skip
TEMPLATE = """\
{{- '<|begin_of_text|>' -}}
{%- for message in messages -%}
{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' -}}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}{{ '<|image|>' }}{%- else -%}{{ part.text }}{%- endif -%}
{%- endfor -%}
{{- '<|eot_id|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif -%}
"""


def tiny_mllama(*, seed: int = 0) -> tuple[PreTrainedModel, Any]:
    """Return the model with random weights, and its processor."""
    tokenizer = tiny_tokenizer(
        words=("user", "assistant"),
        specials=SPECIALS,
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
        pad="<|finetune_right_pad_id|>",
        named={"image_token": "<|image|>"},
    )
    config = MllamaConfig(
        text_config=text_sizes(tokenizer, cross_attention_layers=[1], rope_parameters=rotary()),
        vision_config={
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 2,
            "intermediate_size": 64,
            "vision_output_dim": 64,
            "image_size": SIDE,
            "patch_size": 14,
            "max_num_tiles": TILES,
            "intermediate_layers_indices": [0],
            "supported_aspect_ratios": [[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]],
            "initializer_range": 32**-0.5,
        },
        image_token_index=identifiers(tokenizer)("<|image|>"),
    )
    image_processor = MllamaImageProcessorPil(size={"height": SIDE, "width": SIDE}, max_image_tiles=TILES)
    return made(config, MllamaProcessor, image_processor, tokenizer, TEMPLATE, seed=seed, stops=("<|end_of_text|>",))
