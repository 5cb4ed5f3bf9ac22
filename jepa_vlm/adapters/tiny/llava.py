"""A small LLaVA: every image takes the same number of tokens; its template ends no turn and knows no system."""

from __future__ import annotations

from typing import Any

from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaProcessor, PreTrainedModel
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from jepa_vlm.adapters.tiny.parts import made, rotary, text_sizes, vision_sizes
from jepa_vlm.adapters.tiny.tokenizer import identifiers, tiny_tokenizer

SIDE = 56
TEMPLATE = """\
{%- for message in messages -%}
{%- if message.role != 'system' -%}{{ message.role.upper() + ': ' }}{%- endif -%}
{%- for part in message.content -%}{%- if part.type == 'image' -%}{{ '<image>\\n' }}{%- endif -%}{%- endfor -%}
{%- for part in message.content -%}{%- if part.type == 'text' -%}{{ part.text + ' ' }}{%- endif -%}{%- endfor -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ 'ASSISTANT:' }}{%- endif -%}
"""


def tiny_llava(*, seed: int = 0) -> tuple[PreTrainedModel, Any]:
    """Return the model with random weights, and its processor."""
    tokenizer = llava_tokenizer("USER", "ASSISTANT")
    config = LlavaConfig(
        text_config=LlamaConfig(**text_sizes(tokenizer, rope_parameters=rotary())),
        vision_config=CLIPVisionConfig(**vision_sizes(SIDE)),
        image_token_index=identifiers(tokenizer)("<image>"),
        image_seq_length=16,
    )
    return made(
        config,
        LlavaProcessor,
        LlavaImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}),
        tokenizer,
        TEMPLATE,
        seed=seed,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )


def llava_tokenizer(*words: str) -> Any:
    """Return a tokenizer with Llama's special tokens, in which each of these words is one token."""
    return tiny_tokenizer(
        words=words,
        specials=("<unk>", "<s>", "</s>", "<pad>", "<image>"),
        bos="<s>",
        eos="</s>",
        pad="<pad>",
        named={"image_token": "<image>"},
    )
