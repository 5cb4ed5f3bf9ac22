"""Small Idefics3 and SmolVLM: tiles between markers of row and column, a thumbnail last."""

from __future__ import annotations

from typing import Any

from transformers import Idefics3Config, Idefics3Processor, LlamaConfig, PreTrainedModel, SmolVLMConfig
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from transformers.models.smolvlm.processing_smolvlm import SmolVLMProcessor

from jepa_vlm.adapters.tiny.parts import made, rotary, text_sizes, vision_sizes
from jepa_vlm.adapters.tiny.tokenizer import identifiers, tiny_tokenizer

SIDE, PATCH, SHRINK = 56, 14, 2
SPECIALS = (
    "<|endoftext|>", "<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<image>", "<global-img>",
    *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
)  # fmt: skip
TEMPLATE = """\
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


def tiny_idefics3(*, seed: int = 0) -> tuple[PreTrainedModel, Any]:
    """Return an Idefics3 with random weights, and its processor."""
    return _made(Idefics3Config, Idefics3Processor, Idefics3ImageProcessorPil, seed=seed)


def tiny_smolvlm(*, seed: int = 0) -> tuple[PreTrainedModel, Any]:
    """Return a SmolVLM with random weights, and its processor."""
    return _made(SmolVLMConfig, SmolVLMProcessor, SmolVLMImageProcessorPil, seed=seed)


def _made(
    config_class: Any, processor_class: Any, image_processor_class: Any, *, seed: int
) -> tuple[PreTrainedModel, Any]:
    tokenizer = tiny_tokenizer(
        words=("User", "Assistant", ":"),
        specials=SPECIALS,
        eos="<end_of_utterance>",
        pad="<|endoftext|>",
        named={
            "image_token": "<image>",
            "fake_image_token": "<fake_token_around_image>",
            "global_image_token": "<global-img>",
            "end_of_utterance_token": "<end_of_utterance>",
        },
    )
    config = config_class(
        text_config=LlamaConfig(**text_sizes(tokenizer, rope_parameters=rotary())),
        vision_config=vision_sizes(SIDE, PATCH),
        scale_factor=SHRINK,
        image_token_id=identifiers(tokenizer)("<image>"),
        pad_token_id=tokenizer.pad_token_id,
    )
    image_processor = image_processor_class(
        size={"longest_edge": 2 * SIDE}, max_image_size={"longest_edge": SIDE}, do_image_splitting=True
    )
    length = (SIDE // PATCH // SHRINK) ** 2
    return made(
        config,
        processor_class,
        image_processor,
        tokenizer,
        TEMPLATE,
        seed=seed,
        stops=("<|endoftext|>",),
        image_seq_len=length,
    )
