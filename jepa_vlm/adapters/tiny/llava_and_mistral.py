"""Tiny LLaVAs, Mistral 3 and Pixtral: CLIP's, SigLIP's or Pixtral's tower before a language model."""

from __future__ import annotations

from dataclasses import replace

from jepa_vlm.adapters.tiny.model import CHATML_WORDS, MERGE, PATCH, TinyModel, Vocabulary, chatml, rotary, vit

PINPOINTS = [[28, 56], [56, 28], [56, 56]]  # grids of tiles
# It ends no turn and has no name for the system.
LLAVA_TEMPLATE = """\
{%- for message in messages -%}
{%- if message.role != 'system' -%}{{ message.role.upper() + ': ' }}{%- endif -%}
{%- for part in message.content -%}{%- if part.type == 'image' -%}{{ '<image>\\n' }}{%- endif -%}{%- endfor -%}
{%- for part in message.content -%}{%- if part.type == 'text' -%}{{ part.text + ' ' }}{%- endif -%}{%- endfor -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ 'ASSISTANT:' }}{%- endif -%}
"""
_LLAMA_VOCABULARY = Vocabulary(
    specials=("<unk>", "<s>", "</s>", "<pad>", "<image>"),
    words=("USER", "ASSISTANT"),
    bos="<s>",
    eos="</s>",
    pad="<pad>",
    named={"image_token": "<image>"},
)
LLAVA = TinyModel(
    family="llava",
    note="LLaVA's architecture on Llama",
    vocabulary=_LLAMA_VOCABULARY,
    template=LLAVA_TEMPLATE,
    text={"model_type": "llama", "rope_parameters": rotary()},
    vision=vit(56, model_type="clip_vision_model"),
    config={"image_seq_length": 16},
    token_ids={"image_token_index": "<image>"},
    processor="LlavaProcessor",
    image_processor="LlavaImageProcessorPil",
    image_settings={"size": {"shortest_edge": 56}, "crop_size": {"height": 56, "width": 56}},
    processor_settings={
        "patch_size": 14,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,
    },
)
LLAVA_NEXT_TEMPLATE = """\
{{- '<s>' -}}
{%- for message in messages -%}
{{- '[INST] ' if message.role == 'user' else ' ' -}}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}{{ '<image>\\n' }}{%- else -%}{{ part.text }}{%- endif -%}
{%- endfor -%}
{{- ' [/INST]' if message.role == 'user' else '</s>' -}}
{%- endfor -%}
"""
LLAVA_NEXT = replace(
    LLAVA,
    family="llava_next",
    note="LLaVA-NeXT's architecture on Mistral",
    vocabulary=replace(_LLAMA_VOCABULARY, words=("INST", "[", "]", "[/")),
    template=LLAVA_NEXT_TEMPLATE,
    text={"model_type": "mistral", "sliding_window": 24, "rope_parameters": rotary()},
    vision=vit(28, model_type="clip_vision_model"),
    config={"image_grid_pinpoints": PINPOINTS, "image_seq_length": 4},
    processor="LlavaNextProcessor",
    image_processor="LlavaNextImageProcessorPil",
    image_settings={
        "size": {"shortest_edge": 28},
        "crop_size": {"height": 28, "width": 28},
        "image_grid_pinpoints": PINPOINTS,
    },
)
LLAVA_ONEVISION = TinyModel(
    family="llava_onevision",
    note="LLaVA-OneVision's architecture on Qwen2",
    vocabulary=Vocabulary(
        specials=("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"),
        words=CHATML_WORDS,
        eos="<|im_end|>",
        pad="<|endoftext|>",
        named={"image_token": "<image>", "video_token": "<video>"},
    ),
    template=chatml("<image>", system=False),
    text={"model_type": "qwen2", "rope_parameters": rotary()},
    vision=vit(28, model_type="siglip_vision_model", vision_use_head=False),
    config={"image_grid_pinpoints": PINPOINTS},
    token_ids={"image_token_index": "<image>", "video_token_index": "<video>"},
    processor="LlavaOnevisionProcessor",
    image_processor="LlavaOnevisionImageProcessorPil",
    image_settings={"size": {"height": 28, "width": 28}, "image_grid_pinpoints": PINPOINTS},
    processor_settings={"num_image_tokens": 4, "vision_feature_select_strategy": "full"},
    stops=("<|endoftext|>",),
)
MISTRAL3_TEMPLATE = """\
{{- '<s>' -}}
{%- for message in messages -%}
{%- if message.role == 'system' -%}
{{ '[SYSTEM_PROMPT]' + message.content[0].text + '[/SYSTEM_PROMPT]' }}
{%- elif message.role == 'user' -%}
{{ '[INST]' }}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}{{ '[IMG]' }}{%- else -%}{{ part.text }}{%- endif -%}
{%- endfor -%}
{{ '[/INST]' }}
{%- else -%}
{{ message.content[0].text + '</s>' }}
{%- endif -%}
{%- endfor -%}
"""
MISTRAL3 = TinyModel(
    family="mistral3",
    note="Mistral 3's architecture, needs torchvision",
    vocabulary=Vocabulary(
        specials=(
            "<unk>", "<s>", "</s>", "<pad>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[IMG]",
            "[IMG_BREAK]", "[IMG_END]",
        ),
        bos="<s>",
        eos="</s>",
        pad="<pad>",
        named={"image_token": "[IMG]"},
    ),
    template=MISTRAL3_TEMPLATE,
    text={"model_type": "mistral", "head_dim": 16, "sliding_window": None, "rope_parameters": rotary()},
    vision=vit(96, PATCH, model_type="pixtral", rope_parameters=rotary()),
    config={"spatial_merge_size": MERGE, "tie_word_embeddings": False},
    token_ids={"image_token_index": "[IMG]"},
    processor="PixtralProcessor",
    image_processor="PixtralImageProcessor",
    image_settings={"size": {"longest_edge": 96}, "patch_size": {"height": PATCH * MERGE, "width": PATCH * MERGE}},
    processor_settings={"patch_size": PATCH, "spatial_merge_size": MERGE},
    torchvision=True,
)  # fmt: skip
PIXTRAL = replace(  # LLaVA's model, without a merger of patches
    MISTRAL3,
    family="llava",
    note="Pixtral's architecture, LLaVA's with a tower of its own, needs torchvision",
    config={
        "image_seq_length": 1,
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full",
        "tie_word_embeddings": False,
    },
    image_settings={"size": {"longest_edge": 96}, "patch_size": {"height": PATCH, "width": PATCH}},
    processor_settings={"patch_size": PATCH, "spatial_merge_size": 1},
)
