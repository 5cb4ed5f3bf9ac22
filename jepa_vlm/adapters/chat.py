"""Conversations as a backbone's own chat template writes them, in training and when the model is prompted.

``answer_turn`` is the one place that decides with which tokens a trained model answers behind a prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from jepa_vlm.errors import BackboneError
from jepa_vlm.typing import Processor

Turn = Mapping[str, Any]  # {"role", "content": [{"type": "image", ...} or {"type": "text", "text"}, ...]}

_PROBE = "\ue004"  # in no text, and Python's notation of a list would not show it as it is
_QUESTION: Turn = {"role": "user", "content": [{"type": "text", "text": "Which one?"}]}
# By chat template: roles whose turns it takes as strings; a prompt, and the text up to the first word of an answer.
_string_roles: dict[str, frozenset[str]] = {}
_prompt_and_opening: dict[str, tuple[str, str]] = {}


def chat_text(processor: Processor, turns: Sequence[Turn], *, prompt: bool = False) -> str:
    """Return a conversation as the processor's chat template writes it.

    Two habits of public templates are met. Some take the turns of the system or the assistant as strings alone:
    GLM-4.1V's would write Python's notation of a list into the text, LFM2's fails on one. And some open a thought
    behind a question unless told not to, where a conversation shows a closed one: Qwen3.5's is told not to.

    Args:
        processor: Processor of the backbone.
        turns: Each with its role and a list of parts.
        prompt: Whether the model's own turn is opened at the end.

    Raises:
        BackboneError: If the template refuses the conversation.
    """
    template = str(processor.chat_template)
    if template not in _string_roles:
        _string_roles[template] = frozenset(role for role in ("system", "assistant") if _wants_string(processor, role))
    plain = _string_roles[template]
    try:
        return _render(processor, [_joined(turn) if turn["role"] in plain else turn for turn in turns], prompt)
    except (_template_error(), TypeError) as err:
        roles = ", ".join(turn["role"] for turn in turns)
        raise BackboneError(
            f"The chat template refuses a conversation of the turns {roles}: {err}; use a template that takes them."
        ) from None


def _render(processor: Processor, turns: Sequence[Turn], prompt: bool) -> str:
    switch = {"enable_thinking": False} if "enable_thinking" in str(processor.chat_template) else {}
    text: str = processor.apply_chat_template(list(turns), tokenize=False, add_generation_prompt=prompt, **switch)
    return text


def _wants_string(processor: Processor, role: str) -> bool:
    """Return whether a turn of this role reaches the text as a string, and as a list of parts does not."""
    probe = {"role": role, "content": [{"type": "text", "text": _PROBE}]}
    shown = []
    for turn in (probe, _joined(probe)):
        try:
            turns = [turn, _QUESTION] if role == "system" else [_QUESTION, turn]
            shown.append(_PROBE in _render(processor, turns, False))
        except (_template_error(), TypeError):
            shown.append(False)
    return shown == [False, True]


def _template_error() -> type[Exception]:
    """Return what templates raise; jinja2 comes with torch."""
    from jinja2 import TemplateError

    return TemplateError


def _joined(turn: Turn) -> Turn:
    return {**turn, "content": "".join(part["text"] for part in turn["content"])}


@final
@dataclass(frozen=True)
class TurnOpening:
    """The end of a prompt, and the opening of the turn that answers it in training.

    Args:
        prompt: A prompt.
        opened: The conversation up to the first word of the model's turn.
        blanks: Blanks between the two, which are part of what the model says: a prompt does not hold them.
        note: Remark where the two differ in blanks that the tokenizer does not separate from the prompt.
        fault: Reason why the model would be prompted in another way than it is trained, or "".
    """

    prompt: str
    opened: str
    blanks: str = ""
    note: str = ""
    fault: str = ""


def turn_opening(processor: Processor) -> TurnOpening:
    """Return how the chat template ends a prompt, and opens a turn."""
    template = str(processor.chat_template)
    if template not in _prompt_and_opening:
        answer = {"role": "assistant", "content": [{"type": "text", "text": _PROBE}]}
        until = chat_text(processor, [_QUESTION, answer]).partition(_PROBE)[0]
        _prompt_and_opening[template] = chat_text(processor, [_QUESTION], prompt=True), until
    prompt, opened = _prompt_and_opening[template]
    ends = f"A prompt of this chat template ends in {prompt[-40:]!r}, training opens a turn with {opened[-40:]!r}"
    if opened.rstrip() != prompt.rstrip():
        return TurnOpening(
            prompt,
            opened,
            fault=f"{ends}: the model would be asked in another way than it is trained. Take a checkpoint or a chat "
            "template whose generation prompt ends as its turns begin (of Qwen3-VL, Instruct instead of Thinking).",
        )
    given, whole = (_ids(processor, text) for text in (prompt, opened + processor.tokenizer.eos_token))
    if opened.startswith(prompt) and whole[: len(given)] == given:
        return TurnOpening(prompt, opened, blanks=opened[len(prompt) :])
    return TurnOpening(
        prompt,
        opened,
        note=f"{ends}: they differ in blanks, so that the first token of an answer is asked for behind another token "
        "than it is trained behind. A chat template that writes both alike would mend it.",
    )


@final
@dataclass(frozen=True)
class AnswerTurn:
    """What a model writes behind a prompt, without what ends its turn.

    Args:
        ids: Token identifiers.
        begins: For each token, the character of the answer at which it begins; negative in blanks that the template
            writes ahead of the answer.
    """

    ids: tuple[int, ...]
    begins: tuple[int, ...]

    def behind(self, lead: str) -> tuple[int, ...]:
        """Return the tokens behind the first words of the turn; all of them behind "".

        Raises:
            BackboneError: If the tokenizer joins the end of these words with what follows.
        """
        first = max((i for i, begin in enumerate(self.begins) if begin <= len(lead)), default=0) if lead else 0
        if lead and self.begins[first] != len(lead):
            raise BackboneError(
                f"The tokenizer joins the end of {lead!r} with what follows into one token, so that no token behind it "
                "can be compared; use the scoring 'free'."
            )
        return self.ids[first:]


def answer_turn(processor: Processor, said: str, *, prefix: str = "") -> AnswerTurn:
    """Return the tokens with which a model that was trained to say ``said`` continues a prompt.

    The first of them is the first trained token of the turn: behind "Assistant:" it is " A", blank included.

    Args:
        processor: Processor of the backbone.
        said: Text of the turn.
        prefix: Part of it that the prompt already holds.

    Raises:
        BackboneError: If the model would be prompted in another way than it is trained, or the tokenizer joins the end
            of a prompt with what follows.
    """
    opening, tokenizer = turn_opening(processor), processor.tokenizer
    if opening.fault:
        raise BackboneError(opening.fault)
    whole = opening.opened + said + tokenizer.eos_token
    coded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    begins = [begin - len(opening.opened) for begin, _ in coded["offset_mapping"]]
    if opening.note:  # what stands ahead has other tokens; what is said must have its own
        start = next(i for i, begin in enumerate(begins) if begin >= len(prefix))
        joined = begins[start] != len(prefix)
    else:
        given = _ids(processor, opening.prompt + (opening.blanks + prefix if prefix else ""))
        start, joined = len(given), coded["input_ids"][: len(given)] != given
    if joined:
        remedy = "use the scoring 'free'" if prefix else "take the blanks behind the template's generation prompt out"
        raise BackboneError(
            f"The tokenizer joins the end of a prompt, {(opening.prompt + prefix)[-20:]!r}, with the answer's first "
            "word into one token, so that the model would be asked behind another token than it is trained behind; "
            f"{remedy}."
        )
    kept = [i for i in range(start, len(begins)) if begins[i] < len(said)]
    return AnswerTurn(tuple(coded["input_ids"][i] for i in kept), tuple(begins[i] for i in kept))


def _ids(processor: Processor, text: str) -> list[int]:
    ids: list[int] = processor.tokenizer(text, add_special_tokens=False).input_ids
    return ids
