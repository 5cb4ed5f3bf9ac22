"""ChatML, which Qwen's models and several others speak."""

from __future__ import annotations

from typing import Any

from jepa_vlm.adapters.tiny.tokenizer import tiny_tokenizer

SPECIALS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
SYSTEM = "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}"
_TEMPLATE = """\
{%- if messages[0].role != 'system' -%}
SYSTEM
{%- endif -%}
{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' }}
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
{%- endif -%}
"""
WORDS = ("system", "user", "assistant", "You", "are", "a", "helpful", ".")


def chatml(image: str, *, system: bool = True) -> str:
    """Return the chat template.

    Args:
        image: What is written for an image.
        system: Whether a conversation without a system turn gets one.
    """
    return _TEMPLATE.replace("IMAGE", image).replace("SYSTEM", SYSTEM if system else "")


def qwen_tokenizer() -> Any:
    """Return the tokenizer of the Qwen families."""
    return tiny_tokenizer(words=WORDS, specials=SPECIALS, eos="<|im_end|>", pad="<|endoftext|>")
