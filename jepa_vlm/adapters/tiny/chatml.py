"""ChatML, which Qwen's models and several others speak."""

from __future__ import annotations

from typing import Any

from jepa_vlm.adapters.tiny.tokenizer import identifiers, tiny_tokenizer

SPECIALS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
QWEN_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
SYSTEM = "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}"
_TEMPLATE = """\
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
_THOUGHT = "{%- if message.role == 'assistant' and loop.last -%}{{ '<think>\\n\\n</think>\\n\\n' }}{%- endif -%}\n"
_OPENED = "{{- '<think>\\n' if enable_thinking | default(true) else '<think>\\n\\n</think>\\n\\n' }}\n"
WORDS = ("system", "user", "assistant", "You", "are", "a", "helpful", ".")


def chatml(image: str, *, system: bool = True, thinks: bool = False) -> str:
    """Return the chat template.

    Args:
        image: What is written for an image.
        system: Whether a conversation without a system turn gets one.
        thinks: Whether a prompt opens a thought unless told not to, and the last turn shows an empty one.
    """
    thought, opened = (_THOUGHT, _OPENED) if thinks else ("", "")
    text = _TEMPLATE.replace("IMAGE", image).replace("SYSTEM", SYSTEM if system else "")
    return text.replace("THOUGHT\n", thought).replace("OPENED\n", opened)


def qwen_tokenizer() -> Any:
    """Return the tokenizer of the Qwen families."""
    return tiny_tokenizer(words=WORDS, specials=SPECIALS, eos="<|im_end|>", pad="<|endoftext|>")


def qwen_image_ids(tokenizer: Any) -> dict[str, Any]:
    """Return what the configurations of the Qwen families call the tokens around images."""
    names = {"image": "<|image_pad|>", "video": "<|video_pad|>"}
    names |= {"vision_start": "<|vision_start|>", "vision_end": "<|vision_end|>"}
    return {f"{name}_token_id": identifiers(tokenizer)(token) for name, token in names.items()}
