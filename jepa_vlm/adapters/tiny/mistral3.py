"""A small Mistral 3 with Pixtral's tower: rows of features, a break behind each. Its processor needs torchvision."""

from __future__ import annotations

from typing import Any

from transformers import Mistral3Config, MistralConfig, PixtralVisionConfig, PreTrainedModel

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
    """Return the model with random weights, and its processor.

    Raises:
        BackboneError: If torchvision does not import.
    """
    require_torchvision("PixtralProcessor")
    from transformers import PixtralProcessor
    from transformers.models.pixtral.image_processing_pixtral import PixtralImageProcessor

    tokenizer = mistral3_tokenizer()
    side = PATCH * MERGE
    image_processor = PixtralImageProcessor(
        size={"longest_edge": SIDE}, patch_size={"height": side, "width": side}, do_convert_rgb=True
    )
    sizes = {"patch_size": PATCH, "spatial_merge_size": MERGE}
    config = mistral3_config(tokenizer)
    return made(config, PixtralProcessor, image_processor, tokenizer, TEMPLATE, seed=seed, **sizes)


def mistral3_tokenizer() -> Any:
    """Return its tokenizer."""
    return tiny_tokenizer(
        words=(), specials=SPECIALS, bos="<s>", eos="</s>", pad="<pad>", named={"image_token": "[IMG]"}
    )


def mistral3_config(tokenizer: Any) -> Mistral3Config:
    """Return the model's configuration."""
    return Mistral3Config(
        text_config=MistralConfig(**text_sizes(tokenizer, head_dim=16, sliding_window=None, rope_parameters=rotary())),
        vision_config=PixtralVisionConfig(**vision_sizes(SIDE, PATCH, rope_parameters=rotary())),
        image_token_index=identifiers(tokenizer)("[IMG]"),
        spatial_merge_size=MERGE,
        tie_word_embeddings=False,
    )
