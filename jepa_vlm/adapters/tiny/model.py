"""What a row of the table of tiny models holds, and values that rows share.

Plain data, so that listing the tiny models imports neither torch nor transformers; ``build.py`` makes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

Settings = Mapping[str, object]
WIDTH = 64  # of the decoder
PATCH, MERGE, SIDE = (
    8,
    2,
    112,
)  # in Qwen's towers: pixels of a patch, patches on each side of a token, pixels of an image
TIED = {"tie_word_embeddings": True}
CHATML_WORDS = ("system", "user", "assistant", "You", "are", "a", "helpful", ".")


@final
@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Tokens of a tiny model besides the words of the playground.

    Args:
        specials: Structural tokens, in the order of their identifiers.
        words: Further words that become one token each, at the start of a line and after a space.
        eos, pad, bos: Special tokens that end a turn, fill a batch and open a text.
        named: Special tokens that the family's processor reads from an attribute, such as ``image_token``.
    """

    specials: tuple[str, ...]
    words: tuple[str, ...] = ()
    eos: str
    pad: str
    bos: str | None = None
    named: Mapping[str, str] = field(default_factory=dict)


@final
@dataclass(frozen=True, kw_only=True)
class TinyModel:
    """One tiny model.

    It has the architecture of its family's public checkpoints at a small size: two layers of width 64 in the decoder
    and two of width 32 in the vision tower, unless its settings say otherwise.

    Args:
        family: ``model_type`` of its configuration.
        note: One line for the list of backbones.
        vocabulary: Tokens of its tokenizer.
        template: Chat template; "" leaves it to the family's adapter.
        text: Settings of the decoder beside the sizes that all tiny models share.
        vision: Settings of the vision tower.
        config: Further settings of the configuration.
        token_ids: Settings of the configuration that hold the identifier of a token.
        processor, image_processor: Names of their classes in transformers.
        image_settings, processor_settings: Arguments of these classes.
        stops: Tokens that end generation besides the tokenizer's own.
        torchvision: Whether the processor needs torchvision.
    """

    family: str
    note: str
    vocabulary: Vocabulary
    template: str
    text: Settings
    vision: Settings
    config: Settings = field(default_factory=dict)
    token_ids: Mapping[str, str]
    processor: str
    image_processor: str
    image_settings: Settings
    processor_settings: Settings = field(default_factory=dict)
    stops: tuple[str, ...] = ()
    torchvision: bool = False


def rotary(**more: object) -> Settings:
    """Return rotary settings; with the large models' theta, heads this small would barely turn across an image."""
    return {"rope_type": "default", "rope_theta": 1e4, **more}


def vit(side: int, patch: int = 14, **more: object) -> Settings:
    """Return settings of a tower of CLIP's or SigLIP's kind: two layers of width 32."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    return {**sizes, "image_size": side, "patch_size": patch, "initializer_range": 32**-0.5, **more}


def qwen_tower(**more: object) -> Settings:
    """Return settings of a tower of Qwen's kind: two layers of width 32, tokens of 16 x 16 pixels."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "depth": 2, "out_hidden_size": WIDTH}
    patches = {"patch_size": PATCH, "spatial_merge_size": MERGE, "temporal_patch_size": 2}
    return {**sizes, **patches, "initializer_range": 32**-0.5, **more}


_CHATML = """\
{%- if messages[0].role != 'system' -%}
SYSTEM
{%- endif -%}
{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' }}
THOUGHT
{%- if message.content is string -%}
{{ message.content }}
{%- else -%}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}
{{ 'IMAGE' }}
{%- elif 'text' in part -%}
{{ part.text }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{ '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|im_start|>assistant\\n' }}
OPENED
{%- endif -%}
"""
_SYSTEM = "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}"
_THOUGHT = "{%- if message.role == 'assistant' and loop.last -%}{{ '<think>\\n\\n</think>\\n\\n' }}{%- endif -%}\n"
_OPENED = "{{- '<think>\\n' if enable_thinking | default(true) else '<think>\\n\\n</think>\\n\\n' }}\n"


def chatml(image: str, *, system: bool = True, thinks: bool = False) -> str:
    """Return a ChatML template, as Qwen's models and several others have.

    Args:
        image: Text that stands for an image.
        system: Whether a conversation without a system turn gets one.
        thinks: Whether a prompt opens a thought unless ``enable_thinking`` is false, and the last turn shows an empty
            thought.
    """
    thought, opened = (_THOUGHT, _OPENED) if thinks else ("", "")
    text = _CHATML.replace("IMAGE", image).replace("SYSTEM", _SYSTEM if system else "")
    return text.replace("THOUGHT\n", thought).replace("OPENED\n", opened)
