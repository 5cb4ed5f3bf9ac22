"""A small GLM-4V: a turn ends where the next one's role begins; its template takes the assistant's as strings."""

from __future__ import annotations

from typing import Any

from transformers import Glm4vConfig, Glm4vProcessor, PreTrainedModel
from transformers.models.glm4v.image_processing_pil_glm4v import Glm4vImageProcessorPil

from jepa_vlm.adapters.tiny.parts import MERGE, PATCH, SIDE, made, rotary, text_sizes, tower_sizes
from jepa_vlm.adapters.tiny.tokenizer import identifiers, tiny_tokenizer

SPECIALS = (
    "<|endoftext|>", "[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>",
    "<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>", "<|image|>", "<|video|>",
)  # fmt: skip
TEMPLATE = """\
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


def tiny_glm4v(*, seed: int = 0) -> tuple[PreTrainedModel, Any]:
    """Return the model with random weights, and its processor."""
    tokenizer = tiny_tokenizer(
        words=(),
        specials=SPECIALS,
        eos="<|endoftext|>",
        pad="<|endoftext|>",
        named={"image_token": "<|image|>", "video_token": "<|video|>"},
    )
    ids = identifiers(tokenizer)
    config = Glm4vConfig(
        text_config=text_sizes(
            tokenizer,
            rope_parameters=rotary(mrope_section=[2, 3, 3], partial_rotary_factor=1.0),
            tie_word_embeddings=False,
        ),
        vision_config=tower_sizes(image_size=8 * PATCH, rms_norm_eps=1e-5),
        image_token_id=ids("<|image|>"),
        video_token_id=ids("<|video|>"),
        image_start_token_id=ids("<|begin_of_image|>"),
        image_end_token_id=ids("<|end_of_image|>"),
        video_start_token_id=ids("<|begin_of_video|>"),
        video_end_token_id=ids("<|end_of_video|>"),
    )
    side = PATCH * MERGE
    kind: Any = Glm4vImageProcessorPil  # its constructor names none of its settings
    image_processor = kind(
        patch_size=PATCH,
        merge_size=MERGE,
        size={"shortest_edge": 2 * side * side, "longest_edge": 2 * 4 * SIDE * SIDE},
    )
    return made(config, Glm4vProcessor, image_processor, tokenizer, TEMPLATE, seed=seed, stops=("<|user|>",))
