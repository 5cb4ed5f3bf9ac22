"""Option letters: how a model's answer to a multiple-choice item becomes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, final

from torch import Tensor

from jepa_vlm.adapters import Backbone
from jepa_vlm.adapters.chat import answer_turn
from jepa_vlm.errors import BackboneError
from jepa_vlm.generation.greedy import end_ids
from jepa_vlm.generation.letter_parser import parse_letter
from jepa_vlm.generation.tool_use import ToolUse
from jepa_vlm.trajectories import MultipleChoice

Scoring = Literal["letter-logits", "short", "free", "tools"]
SCORINGS: tuple[Scoring, ...] = ("letter-logits", "short", "free")  # those of one prompt
COMPARED: frozenset[Scoring] = frozenset(("letter-logits", "short"))  # those that compare the tokens of letters
SHORT_TOKENS = 4  # the paper's limit for a constrained answer

LetterTokens = Mapping[str, tuple[int, ...]]  # of each option letter, as an answer writes it
LetterReader = Callable[[str, MultipleChoice], str | None]  # from a generated text to an option letter


def read_letter(text: str, item: MultipleChoice) -> str | None:
    """Read a letter by the rules of ``parse_letter``."""
    return parse_letter(text, item.letters, item.options)


@final
@dataclass(frozen=True)
class LetterAnswer:
    """What a model answered to one item.

    Args:
        id: The item's.
        letter: The option letter, or None where none could be read.
        text: What was generated; for ``letter-logits``, the letter, and for ``tools``, the last turn.
        use: Of tools, under ``tools``.
        latent_steps: Taken on the way, by latent decoding; None without it.
        opened: How many of the opening's tokens it wrote, each as often as the opening has it; None without an opening,
            and where nothing is generated.
    """

    id: str
    letter: str | None
    text: str
    use: ToolUse | None = None
    latent_steps: int | None = None
    opened: int | None = None


def letter_tokens(backbone: Backbone, letters: Sequence[str], *, prefix: str = "", lead: str = "") -> LetterTokens:
    """Return the tokens with which a model that was trained to answer with a letter writes it; see ``answer_turn``.

    Args:
        backbone: Its tokenizer and chat template say which.
        letters: The option letters.
        prefix: What the prompt already holds of the answer.
        lead: What the answer says ahead of the letter.

    Raises:
        BackboneError: If prompts are not as trained, or the tokenizer joins a letter with what comes ahead of it.
    """
    said = {letter: answer_turn(backbone.processor, prefix + lead + letter, prefix=prefix) for letter in letters}
    return {letter: turn.behind(prefix + lead) for letter, turn in said.items()}


def tokens_of_items(
    backbone: Backbone, items: Sequence[MultipleChoice], *, prefix: str = "", lead: str = ""
) -> list[LetterTokens]:
    """Return for each item the tokens of its letters; see ``letter_tokens``."""
    every = sorted({letter for item in items for letter in item.letters})
    known = letter_tokens(backbone, every, prefix=prefix, lead=lead)
    return [{letter: known[letter] for letter in item.letters} for item in items]


def one_token_each(tokens: Sequence[LetterTokens]) -> bool:
    """Say whether every letter is one token: constrained greedy decoding then takes the likeliest letter and ends."""
    return all(len(ids) == 1 for own in tokens for ids in own.values())


def likeliest_letter(backbone: Backbone, tokens: LetterTokens, logits: Tensor) -> str:
    """Return the letter whose first token has the largest logit, (vocab,).

    Args:
        backbone: For messages.
        tokens: Of each letter; see ``letter_tokens``.
        logits: Where an answer's first token is written.

    Raises:
        BackboneError: If two letters begin with the same token.
    """
    first = {letter: own[0] for letter, own in tokens.items()}
    for letter, token in first.items():
        twin = next((other for other in first if other != letter and first[other] == token), None)
        if twin is not None:
            shown = backbone.tokenizer.convert_ids_to_tokens(token)
            raise BackboneError(
                f"letter-logits compares the first token of each option letter, but in an answer of {backbone.name!r} "
                f"{letter!r} and {twin!r} both begin with {shown!r}; use the scoring 'short'."
            )
    return tuple(first)[int(logits[list(first.values())].argmax())]


def letter_trie(backbone: Backbone, tokens: LetterTokens) -> dict[tuple[int, ...], list[int]]:
    """Return by tokens so far those that may follow, so that a letter and then the end comes out."""
    trie: dict[tuple[int, ...], list[int]] = {}
    for own in tokens.values():
        path = [*own, end_ids(backbone)[0]]
        for depth, token in enumerate(path):
            branches = trie.setdefault(tuple(path[:depth]), [])
            if token not in branches:
                branches.append(token)
    return trie


def written_letter(tokens: LetterTokens, ids: Sequence[int]) -> str | None:
    """Return the letter that constrained decoding wrote, or None if its limit cut it off."""
    return next((letter for letter, own in tokens.items() if tuple(ids[: len(own)]) == own), None)
