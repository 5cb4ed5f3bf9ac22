"""Tiny Qwens and GLM-4V: a grid of patches, positions along its rows and columns."""

from __future__ import annotations

from dataclasses import replace

from jepa_vlm.adapters.tiny.model import (
    CHATML_WORDS,
    MERGE,
    PATCH,
    SIDE,
    TIED,
    WIDTH,
    Settings,
    TinyModel,
    Vocabulary,
    chatml,
    qwen_tower,
    rotary,
)

IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
QWEN_SCALE = 128**-0.5  # standard deviation of the weights of the Qwen2.5-VL, whose decoder has width 128
QWEN2_VL = TinyModel(
    family="qwen2_vl",
    note="Qwen2-VL's architecture",
    vocabulary=Vocabulary(
        specials=(
            "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
            "<|image_pad|>", "<|video_pad|>",
        ),
        words=CHATML_WORDS,
        eos="<|im_end|>",
        pad="<|endoftext|>",
    ),
    template=chatml(IMAGE),
    text={"rope_parameters": rotary(mrope_section=[2, 3, 3]), **TIED},
    vision={
        "embed_dim": 32,
        "hidden_size": WIDTH,
        "num_heads": 2,
        "depth": 2,
        "mlp_ratio": 2,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "initializer_range": 32**-0.5,
    },
    config=TIED,
    token_ids={
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    },
    processor="Qwen2VLProcessor",
    image_processor="Qwen2VLImageProcessorPil",
    image_settings={  # 7 x 7 tokens of 112 x 112 pixels
        "patch_size": PATCH,
        "merge_size": MERGE,
        "size": {"shortest_edge": (PATCH * MERGE) ** 2, "longest_edge": 4 * SIDE * SIDE},
    },
    stops=("<|endoftext|>",),
)  # fmt: skip
# The architecture of the bundled default model. All vision layers attend to the whole image.
QWEN2_5_VL = replace(
    QWEN2_VL,
    family="qwen2_5_vl",
    note="Qwen2.5-VL's architecture, 1M parameters",
    text={
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "rope_parameters": rotary(mrope_section=[6, 5, 5]),
        "initializer_range": QWEN_SCALE,
        **TIED,
    },
    vision=qwen_tower(
        hidden_size=96,
        intermediate_size=192,
        num_heads=3,
        depth=3,
        out_hidden_size=128,
        window_size=SIDE,
        fullatt_block_indexes=[0, 1, 2],
        initializer_range=QWEN_SCALE,
    ),
    processor="Qwen2_5_VLProcessor",
)
_QWEN3_TEXT: Settings = {
    "head_dim": 16,
    "rope_parameters": rotary(mrope_section=[3, 3, 2], mrope_interleaved=True),
}
QWEN3_VL = replace(
    QWEN2_VL,
    family="qwen3_vl",
    note="Qwen3-VL's architecture, with DeepStack",
    template=chatml(IMAGE, system=False),
    text={**_QWEN3_TEXT, **TIED},
    vision=qwen_tower(deepstack_visual_indexes=[0, 1], num_position_embeddings=64),
    processor="Qwen3VLProcessor",
)
QWEN3_VL_MOE = replace(
    QWEN3_VL,
    family="qwen3_vl_moe",
    note="Qwen3-VL's architecture with experts",
    text={
        **_QWEN3_TEXT,
        "tie_word_embeddings": False,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "decoder_sparse_step": 1,
    },
    config={"tie_word_embeddings": False},
)
QWEN3_5 = replace(
    QWEN3_VL,
    family="qwen3_5",
    note="Qwen3.5's architecture, linear and full attention",
    template=chatml(IMAGE, system=False, thinks=True),
    text={
        "head_dim": 16,
        "layer_types": ["linear_attention", "full_attention"],
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
        "rope_parameters": rotary(mrope_section=[3, 3, 2], mrope_interleaved=True, partial_rotary_factor=1.0),
        **TIED,
    },
    vision=qwen_tower(num_position_embeddings=64),
)
# A turn ends where the next one's role begins; the assistant's turns must be strings.
GLM4V_TEMPLATE = """\
{{- '[gMASK]<sop>' -}}
{%- for message in messages -%}
{{- '<|' + message.role + '|>\\n' -}}
{%- if message.role != 'user' -%}
{{ message.content }}
{%- else -%}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}
{{ '<|begin_of_image|><|image|><|end_of_image|>' }}
{%- else -%}
{{ part.text }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|assistant|>\\n' }}{%- endif -%}
"""
GLM4V = TinyModel(
    family="glm4v",
    note="GLM-4V's architecture",
    vocabulary=Vocabulary(
        specials=(
            "<|endoftext|>", "[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>",
            "<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>", "<|image|>",
            "<|video|>",
        ),
        eos="<|endoftext|>",
        pad="<|endoftext|>",
        named={"image_token": "<|image|>", "video_token": "<|video|>"},
    ),
    template=GLM4V_TEMPLATE,
    text={
        "rope_parameters": rotary(mrope_section=[2, 3, 3], partial_rotary_factor=1.0),
        "tie_word_embeddings": False,
    },
    vision=qwen_tower(image_size=8 * PATCH, rms_norm_eps=1e-5),
    token_ids={
        "image_token_id": "<|image|>",
        "video_token_id": "<|video|>",
        "image_start_token_id": "<|begin_of_image|>",
        "image_end_token_id": "<|end_of_image|>",
        "video_start_token_id": "<|begin_of_video|>",
        "video_end_token_id": "<|end_of_video|>",
    },
    processor="Glm4vProcessor",
    image_processor="Glm4vImageProcessorPil",
    image_settings={
        "patch_size": PATCH,
        "merge_size": MERGE,
        "size": {"shortest_edge": 2 * (PATCH * MERGE) ** 2, "longest_edge": 2 * 4 * SIDE * SIDE},
    },
    stops=("<|user|>",),
)  # fmt: skip
