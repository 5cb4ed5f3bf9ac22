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


def answer_turn(processor: Any, said: str, *, prefix: str = "") -> AnswerTurn:
    """Return the tokens with which a model that was trained to say ``said`` goes on behind a prompt.

    The first of them is the first trained token of the turn: behind "Assistant:" it is " A", blank included.

    Args:
        processor: The backbone's.
        said: What the turn says.
        prefix: What the prompt already holds of it.

    Raises:
        BackboneError: If a prompt's tokens are not those with which the trained conversation begins.
    """
    prompt, opened = _texts(processor)
    blanks = turn_opening(processor)
    if blanks is None:
        raise BackboneError(
            f"A prompt of this chat template ends in {prompt[-40:]!r}, training opens a turn with {opened[-40:]!r}: "
            "the model would be asked in another way than it is trained. Take a checkpoint or a chat template whose "
            "generation prompt ends as its turns begin (of Qwen3-VL, Instruct instead of Thinking)."
        )
    tokenizer = processor.tokenizer
    given = tokenizer(prompt + (blanks + prefix if prefix else ""), add_special_tokens=False).input_ids
    coded = tokenizer(opened + said + tokenizer.eos_token, add_special_tokens=False, return_offsets_mapping=True)
    ids = coded["input_ids"]
    if ids[: len(given)] != given:
        remedy = (
            "use the scoring 'free'" if prefix else "take blanks at the end of the template's generation prompt out"
        )
        raise BackboneError(
            f"The tokenizer joins the end of a prompt, {(prompt + prefix)[-20:]!r}, with the answer's first word into "
            f"one token, so that the model would be asked behind another token than it is trained behind; {remedy}."
        )
    begins = [begin - len(opened) for begin, _ in coded["offset_mapping"]]
    kept = [i for i in range(len(given), len(ids)) if begins[i] < len(said)]
    return AnswerTurn(tuple(ids[i] for i in kept), tuple(begins[i] for i in kept))


def turn_opening(processor: Any) -> str | None:
    """Return the blanks that the template writes between a prompt's end and a turn's first word.

    They are part of what the model says, since a prompt does not hold them. None is returned where a prompt does not
    end as a turn is opened, blanks aside.
    """
    prompt, opened = _texts(processor)
    between = opened[len(prompt) :]
    return between if opened.startswith(prompt) and not between.strip() else None


def _texts(processor: Any) -> tuple[str, str]:
    """Return a prompt, and the conversation up to the first word of the model's turn."""
    template = str(processor.chat_template)
    if template not in _known:
        answered = {"role": "assistant", "content": [{"type": "text", "text": _PROBE}]}
        opened = chat_text(processor, [_ASKED, answered]).partition(_PROBE)[0]
        _known[template] = chat_text(processor, [_ASKED], prompt=True), opened
    return _known[template]
