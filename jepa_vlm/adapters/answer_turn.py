"""The tokens with which a model answers, as it was trained to: the one place that says where they begin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from jepa_vlm.adapters.chat import Turn, chat_text
from jepa_vlm.errors import BackboneError

_PROBE = "\ue004"  # in no text
_ASKED: Turn = {"role": "user", "content": [{"type": "text", "text": "Which one?"}]}
_known: dict[str, tuple[str, str]] = {}


@final
@dataclass(frozen=True)
class AnswerTurn:
    """What a model writes behind a prompt, without what ends its turn.

    Args:
        ids: Token identifiers.
        begins: The character of what is said where each begins; below 0 in blanks that the template writes ahead.
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


@final
@dataclass(frozen=True)
class TurnOpening:
    """How a prompt ends, and how training opens the turn that answers it.

    Args:
        prompt: A prompt.
        opened: The conversation up to the first word of the model's turn.
        blanks: What stands between the two, which is part of what the model says: a prompt does not hold it.
        note: What must be known where the two differ in blanks that the tokenizer does not tell apart from the prompt.
        fault: Why the model would be asked in another way than it is trained, or "".
    """

    prompt: str
    opened: str
    blanks: str = ""
    note: str = ""
    fault: str = ""


def turn_opening(processor: Any) -> TurnOpening:
    """Return how the chat template ends a prompt, and opens a turn."""
    prompt, opened = _texts(processor)
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


def answer_turn(processor: Any, said: str, *, prefix: str = "") -> AnswerTurn:
    """Return the tokens with which a model that was trained to say ``said`` goes on behind a prompt.

    The first of them is the first trained token of the turn: behind "Assistant:" it is " A", blank included.

    Args:
        processor: The backbone's.
        said: What the turn says.
        prefix: What the prompt already holds of it.

    Raises:
        BackboneError: If the model would be asked in another way than it is trained, or the tokenizer joins the end of
            a prompt with what follows.
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


def _ids(processor: Any, text: str) -> list[int]:
    ids: list[int] = processor.tokenizer(text, add_special_tokens=False).input_ids
    return ids


def _texts(processor: Any) -> tuple[str, str]:
    """Return a prompt, and the conversation up to the first word of the model's turn."""
    template = str(processor.chat_template)
    if template not in _known:
        answered = {"role": "assistant", "content": [{"type": "text", "text": _PROBE}]}
        opened = chat_text(processor, [_ASKED, answered]).partition(_PROBE)[0]
        _known[template] = chat_text(processor, [_ASKED], prompt=True), opened
    return _known[template]
