"""A small Mistral 3 and a small Pixtral: rows of features, a break behind each. Their processor needs torchvision."""

from __future__ import annotations

from typing import Any

from transformers import (
    LlavaConfig,
    Mistral3Config,
    MistralConfig,
    PixtralVisionConfig,
    PretrainedConfig,
    PreTrainedModel,
)

from jepa_vlm.adapters.processors import require_torchvision
from jepa_vlm.adapters.tiny.parts import made, rotary, text_sizes, vision_sizes
from jepa_vlm.adapters.tiny.tokenizer import identifiers, tiny_tokenizer

PATCH, MERGE, SIDE = 8, 2, 96
SPECIALS = (
    "<unk>", "<s>", "</s>", "<pad>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[IMG]", "[IMG_BREAK]",
    "[IMG_END]",
)  # fmt: skip
TEMPLATE = """\
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


def tiny_mistral3(*, seed: int = 0) -> tuple[PreTrainedModel, Any]:
    """Return a Mistral 3 with random weights, and its processor.

    Raises:
        BackboneError: If torchvision does not import.
    """
    tokenizer = mistral3_tokenizer()
    return _made(mistral3_config(tokenizer), tokenizer, MERGE, seed)


def tiny_pixtral(*, seed: int = 0) -> tuple[PreTrainedModel, Any]:
    """Return a Pixtral with random weights, and its processor: LLaVA's model, without a merger of patches.

    Raises:
        BackboneError: If torchvision does not import.
    """
    tokenizer = mistral3_tokenizer()
    config = LlavaConfig(
        **_parts(tokenizer),
        image_token_index=identifiers(tokenizer)("[IMG]"),
        image_seq_length=1,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=False,
    )
    return _made(config, tokenizer, 1, seed)


def mistral3_tokenizer() -> Any:
    """Return the tokenizer of both."""
    return tiny_tokenizer(
        words=(), specials=SPECIALS, bos="<s>", eos="</s>", pad="<pad>", named={"image_token": "[IMG]"}
    )


def mistral3_config(tokenizer: Any) -> Mistral3Config:
    """Return the configuration of the Mistral 3."""
    return Mistral3Config(
        **_parts(tokenizer),
        image_token_index=identifiers(tokenizer)("[IMG]"),
        spatial_merge_size=MERGE,
        tie_word_embeddings=False,
    )


def _parts(tokenizer: Any) -> dict[str, Any]:
    text = text_sizes(tokenizer, head_dim=16, sliding_window=None, rope_parameters=rotary())
    vision = vision_sizes(SIDE, PATCH, rope_parameters=rotary())
    return {"text_config": MistralConfig(**text), "vision_config": PixtralVisionConfig(**vision)}


def _made(config: PretrainedConfig, tokenizer: Any, merge: int, seed: int) -> tuple[PreTrainedModel, Any]:
    require_torchvision("PixtralProcessor")
    from transformers import PixtralProcessor
    from transformers.models.pixtral.image_processing_pixtral import PixtralImageProcessor

    side = PATCH * merge
    image_processor = PixtralImageProcessor(size={"longest_edge": SIDE}, patch_size={"height": side, "width": side})
    sizes: dict[str, Any] = {"patch_size": PATCH, "spatial_merge_size": merge}
    return made(config, PixtralProcessor, image_processor, tokenizer, TEMPLATE, seed=seed, **sizes)
