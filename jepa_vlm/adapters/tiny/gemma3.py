"""A small Gemma 3: an image's tokens see each other both ways, every other layer sees a window."""

from __future__ import annotations

from typing import Any

from transformers import Gemma3Config, Gemma3Processor, PreTrainedModel
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

from jepa_vlm.adapters.tiny.parts import made, text_sizes, vision_sizes
from jepa_vlm.adapters.tiny.tokenizer import identifiers, tiny_tokenizer

SIDE, LENGTH, WINDOW = 56, 4, 12
SPECIALS = (
    "<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>",
    "<image_soft_token>",
)  # fmt: skip
TEMPLATE = """\
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


def tiny_gemma3(*, seed: int = 0) -> tuple[PreTrainedModel, Any]:
    """Return the model with random weights, and its processor."""
    tokenizer = tiny_tokenizer(
        words=("user", "model"),
        specials=SPECIALS,
        bos="<bos>",
        eos="<eos>",
        pad="<pad>",
        named={
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
            "image_token": "<image_soft_token>",
        },
    )
    ids = identifiers(tokenizer)
    config = Gemma3Config(
        text_config=text_sizes(
            tokenizer,
            head_dim=16,
            query_pre_attn_scalar=16,
            sliding_window=WINDOW,
            layer_types=["sliding_attention", "full_attention"],
            tie_word_embeddings=True,
        ),
        vision_config=vision_sizes(SIDE, vision_use_head=False),
        mm_tokens_per_image=LENGTH,
        boi_token_index=ids("<start_of_image>"),
        eoi_token_index=ids("<end_of_image>"),
        image_token_index=ids("<image_soft_token>"),
        initializer_range=0.125,
        tie_word_embeddings=True,
    )
    image_processor = Gemma3ImageProcessorPil(size={"height": SIDE, "width": SIDE}, do_pan_and_scan=False)
    return made(
        config,
        Gemma3Processor,
        image_processor,
        tokenizer,
        TEMPLATE,
        seed=seed,
        stops=("<end_of_turn>",),
        image_seq_length=LENGTH,
    )
