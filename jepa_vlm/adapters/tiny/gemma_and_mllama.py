"""Tiny Gemma 3, PaliGemma and Mllama: tokens that see each other both ways, and cross-attention to images."""

from __future__ import annotations

from jepa_vlm.adapters.tiny.model import TIED, WIDTH, TinyModel, Vocabulary, rotary, vit

# It refuses turns that do not alternate.
GEMMA3_TEMPLATE = """\
{{- '<bos>' -}}
{%- for message in messages -%}
{%- if (message.role == 'user') != (loop.index0 % 2 == 0) -%}
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
{%- endif -%}
{{- '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\\n' -}}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}{{ '<start_of_image>' }}{%- else -%}{{ part.text | trim }}{%- endif -%}
{%- endfor -%}
{{- '<end_of_turn>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\\n' }}{%- endif -%}
"""
GEMMA3 = TinyModel(
    family="gemma3",
    note="Gemma 3's architecture",
    vocabulary=Vocabulary(
        specials=(
            "<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>",
            "<image_soft_token>",
        ),
        words=("user", "model"),
        bos="<bos>",
        eos="<eos>",
        pad="<pad>",
        named={
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
            "image_token": "<image_soft_token>",
        },
    ),
    template=GEMMA3_TEMPLATE,
    text={
        "head_dim": 16,
        "query_pre_attn_scalar": 16,
        "sliding_window": 12,
        "layer_types": ["sliding_attention", "full_attention"],
        **TIED,
    },
    vision=vit(56, model_type="siglip_vision_model", vision_use_head=False),
    config={"mm_tokens_per_image": 4, "initializer_range": 0.125, **TIED},
    token_ids={
        "boi_token_index": "<start_of_image>",
        "eoi_token_index": "<end_of_image>",
        "image_token_index": "<image_soft_token>",
    },
    processor="Gemma3Processor",
    image_processor="Gemma3ImageProcessorPil",
    image_settings={"size": {"height": 56, "width": 56}, "do_pan_and_scan": False},
    processor_settings={"image_seq_length": 4},
    stops=("<end_of_turn>",),
)  # fmt: skip
PALIGEMMA = TinyModel(
    family="paligemma",
    note="PaliGemma's architecture",
    vocabulary=Vocabulary(
        specials=("<pad>", "<eos>", "<bos>", "<image>"),
        bos="<bos>",
        eos="<eos>",
        pad="<pad>",
        named={"image_token": "<image>"},
    ),
    template="",
    text={"model_type": "gemma", "head_dim": 16, "rope_parameters": rotary(), **TIED},
    vision=vit(56, model_type="siglip_vision_model", vision_use_head=False, projection_dim=WIDTH),
    config={"projection_dim": WIDTH, "hidden_size": WIDTH, **TIED},
    token_ids={"image_token_index": "<image>"},
    processor="PaliGemmaProcessor",
    image_processor="SiglipImageProcessorPil",
    image_settings={"size": {"height": 56, "width": 56}, "image_seq_length": 16},
)
MLLAMA_TEMPLATE = """\
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
MLLAMA = TinyModel(
    family="mllama",
    note="Llama 3.2 Vision's architecture",
    vocabulary=Vocabulary(
        specials=(
            "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
            "<|finetune_right_pad_id|>", "<|python_tag|>", "<|image|>",
        ),
        words=("user", "assistant"),
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
        pad="<|finetune_right_pad_id|>",
        named={"image_token": "<|image|>"},
    ),
    template=MLLAMA_TEMPLATE,
    text={"cross_attention_layers": [1], "rope_parameters": rotary()},
    vision={
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_global_layers": 1,
        "attention_heads": 2,
        "intermediate_size": 64,
        "vision_output_dim": 64,
        "image_size": 28,
        "patch_size": 14,
        "max_num_tiles": 4,
        "intermediate_layers_indices": [0],
        "supported_aspect_ratios": [[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]],
        "initializer_range": 32**-0.5,
    },
    token_ids={"image_token_index": "<|image|>"},
    processor="MllamaProcessor",
    image_processor="MllamaImageProcessorPil",
    image_settings={"size": {"height": 28, "width": 28}, "max_image_tiles": 4},
    stops=("<|end_of_text|>",),
)  # fmt: skip
