"""Conversations as a backbone's own chat template writes them, in training and when it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jepa_vlm.errors import BackboneError

Turn = Mapping[str, Any]  # {"role", "content": [{"type": "image", ...} or {"type": "text", "text"}, ...]}

_PROBE = "\ue004"  # in no text, and Python's notation of a list would not show it as it is
_as_strings: dict[str, frozenset[str]] = {}


def chat_text(processor: Any, turns: Sequence[Turn], *, prompt: bool = False) -> str:
    """Return a conversation as the processor's chat template writes it.

    Two habits of public templates are met. Some take the turns of the system or the assistant as strings alone:
    GLM-4.1V's would write Python's notation of a list into the text, LFM2's fails on one. And some open a thought
    behind a question unless told not to, where a conversation shows a closed one: Qwen3.5's is told not to.

    Args:
        processor: The backbone's.
        turns: Each with its role and a list of parts.
        prompt: Whether the model's own turn is opened behind them.

    Raises:
        BackboneError: If the template refuses the conversation.
    """
    template = str(processor.chat_template)
    if template not in _as_strings:
        _as_strings[template] = frozenset(role for role in ("system", "assistant") if _wants_string(processor, role))
    plain = _as_strings[template]
    try:
        return _render(processor, [_joined(turn) if turn["role"] in plain else turn for turn in turns], prompt)
    except (_template_error(), TypeError) as err:
        roles = ", ".join(turn["role"] for turn in turns)
        raise BackboneError(
            f"The chat template refuses a conversation of the turns {roles}: {err}; use a template that takes them."
        ) from None


def _render(processor: Any, turns: Sequence[Turn], prompt: bool) -> str:
    switch = {"enable_thinking": False} if "enable_thinking" in str(processor.chat_template) else {}
    text: str = processor.apply_chat_template(list(turns), tokenize=False, add_generation_prompt=prompt, **switch)
    return text


def _wants_string(processor: Any, role: str) -> bool:
    """Say whether a turn of this role reaches the text as a string, and as a list of parts does not."""
    asked = {"role": "user", "content": [{"type": "text", "text": "?"}]}
    probe = {"role": role, "content": [{"type": "text", "text": _PROBE}]}
    shown = []
    for turn in (probe, _joined(probe)):
        try:
            shown.append(_PROBE in _render(processor, [turn, asked] if role == "system" else [asked, turn], False))
        except (_template_error(), TypeError):
            shown.append(False)
    return shown == [False, True]


def _template_error() -> type[Exception]:
    """Return what templates raise; jinja2 comes with torch."""
    from jinja2 import TemplateError

    return TemplateError


def _joined(turn: Turn) -> Turn:
    return {**turn, "content": "".join(part["text"] for part in turn["content"])}
