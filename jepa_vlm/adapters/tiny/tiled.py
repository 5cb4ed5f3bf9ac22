"""Tiny InternVL, Aya Vision, Idefics3, SmolVLM and LFM2-VL: an image is cut into tiles."""

from __future__ import annotations

from dataclasses import replace

from jepa_vlm.adapters.tiny.model import CHATML_WORDS, TIED, TinyModel, Vocabulary, chatml, rotary, vit

INTERNVL = TinyModel(
    family="internvl",
    note="InternVL's architecture on Qwen2",
    vocabulary=Vocabulary(
        specials=("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>"),
        words=CHATML_WORDS,
        eos="<|im_end|>",
        pad="<|endoftext|>",
        named={
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
    ),
    template=chatml("<IMG_CONTEXT>\\n", system=False),
    text={"model_type": "qwen2", "rope_parameters": rotary()},
    vision=vit(56, model_type="internvl_vision", image_size=[56, 56], patch_size=[14, 14]),
    config={"image_seq_length": 4, "downsample_ratio": 0.5},
    token_ids={"image_token_id": "<IMG_CONTEXT>"},
    processor="InternVLProcessor",
    image_processor="GotOcr2ImageProcessorPil",
    image_settings={
        "size": {"height": 56, "width": 56},
        "min_patches": 1,
        "max_patches": 4,
        "crop_to_patches": True,
    },
    processor_settings={"image_seq_length": 4},
    stops=("<|endoftext|>",),
)
AYA_VISION_TEMPLATE = """\
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
AYA_VISION = TinyModel(
    family="aya_vision",
    note="Aya Vision's architecture on Cohere2",
    vocabulary=Vocabulary(
        specials=(
            "<PAD>", "<BOS_TOKEN>", "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>",
            "<|CHATBOT_TOKEN|>", "<image>", "<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "<|IMG_LINE_BREAK|>",
            "TILE", "TILE_GLOBAL",
        ),
        bos="<BOS_TOKEN>",
        eos="<|END_OF_TURN_TOKEN|>",
        pad="<PAD>",
    ),
    template=AYA_VISION_TEMPLATE,
    text={
        "model_type": "cohere2",
        "layer_types": ["sliding_attention", "full_attention"],
        "sliding_window": 24,
        "rope_parameters": rotary(),
        **TIED,
    },
    vision=vit(56, model_type="siglip_vision_model", vision_use_head=False),
    config={"downsample_factor": 2, **TIED},
    token_ids={"image_token_index": "<|IMG_PATCH|>"},
    processor="AyaVisionProcessor",
    image_processor="GotOcr2ImageProcessorPil",
    image_settings=INTERNVL.image_settings,
    processor_settings={"patch_size": 14, "img_size": 56, "downsample_factor": 2},
)  # fmt: skip
IDEFICS3_TEMPLATE = """\
{{- '<|im_start|>' -}}
{%- for message in messages -%}
{{- message.role | capitalize -}}
{{- ':' if message.content[0].type == 'image' else ': ' -}}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}{{ '<image>' }}{%- else -%}{{ part.text }}{%- endif -%}
{%- endfor -%}
{{- '<end_of_utterance>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ 'Assistant:' }}{%- endif -%}
"""
IDEFICS3 = TinyModel(
    family="idefics3",
    note="Idefics3's architecture",
    vocabulary=Vocabulary(
        specials=(
            "<|endoftext|>", "<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<image>",
            "<global-img>", *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
        ),
        words=("User", "Assistant", ":"),
        eos="<end_of_utterance>",
        pad="<|endoftext|>",
        named={
            "image_token": "<image>",
            "fake_image_token": "<fake_token_around_image>",
            "global_image_token": "<global-img>",
            "end_of_utterance_token": "<end_of_utterance>",
        },
    ),
    template=IDEFICS3_TEMPLATE,
    text={"model_type": "llama", "rope_parameters": rotary()},
    vision=vit(56),
    config={"scale_factor": 2},
    token_ids={"image_token_id": "<image>", "pad_token_id": "<|endoftext|>"},
    processor="Idefics3Processor",
    image_processor="Idefics3ImageProcessorPil",
    image_settings={
        "size": {"longest_edge": 112},
        "max_image_size": {"longest_edge": 56},
        "do_image_splitting": True,
    },
    processor_settings={"image_seq_len": 4},
    stops=("<|endoftext|>",),
)  # fmt: skip
SMOLVLM = replace(
    IDEFICS3,
    family="smolvlm",
    note="SmolVLM's architecture",
    processor="SmolVLMProcessor",
    image_processor="SmolVLMImageProcessorPil",
)
# The system's turn must be a string.
LFM2_VL_TEMPLATE = """\
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
LFM2_VL = TinyModel(
    family="lfm2_vl",
    note="LFM2-VL's architecture, needs torchvision",
    vocabulary=Vocabulary(
        specials=(
            "<|pad|>", "<|startoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<|image_start|>", "<|image_end|>",
            "<|img_thumbnail|>",
            *(f"<|img_row_{row}_col_{column}|>" for row in range(1, 5) for column in range(1, 5)),
        ),
        words=("system", "user", "assistant"),
        bos="<|startoftext|>",
        eos="<|im_end|>",
        pad="<|pad|>",
        named={"image_token": "<image>"},
    ),
    template=LFM2_VL_TEMPLATE,
    text={
        "model_type": "lfm2",
        "layer_types": ["conv", "full_attention"],
        "rope_parameters": rotary(),
        "block_auto_adjust_ff_dim": False,
        **TIED,
    },
    vision=vit(64, 8, model_type="siglip2_vision_model", num_patches=64, vision_use_head=False),
    config={"downsample_factor": 2, "projector_hidden_size": 64, **TIED},
    token_ids={"image_token_id": "<image>"},
    processor="Lfm2VlProcessor",
    image_processor="Lfm2VlImageProcessor",
    image_settings={
        "encoder_patch_size": 8,
        "downsample_factor": 2,
        "tile_size": 64,
        "min_image_tokens": 4,
        "max_image_tokens": 16,
        "max_tiles": 4,
        "size": {"height": 64, "width": 64},
    },
    torchvision=True,
)  # fmt: skip
