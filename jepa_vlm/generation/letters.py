"""Option letters: their tokens, and how a model's answer to a multiple-choice item becomes a letter."""

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
from jepa_vlm.generation.tool_loop import ToolUse
from jepa_vlm.trajectories import MultipleChoice

Scoring = Literal["letter-logits", "short", "free", "tools"]
SCORINGS: tuple[Scoring, ...] = (
    "letter-logits",
    "short",
    "free",
)  # they read one prompt
COMPARED: frozenset[Scoring] = frozenset(("letter-logits", "short"))  # the scorings that compare the tokens of letters
SHORT_TOKENS = 4  # the paper's limit for a constrained answer

LetterTokens = Mapping[str, tuple[int, ...]]  # each option letter's tokens, as an answer writes it
LetterReader = Callable[[str, MultipleChoice], str | None]  # reads an option letter from a generated text


def read_letter(text: str, item: MultipleChoice) -> str | None:
    """Read a letter by the rules of ``parse_letter``."""
    return parse_letter(text, item.letters, item.options)


@final
@dataclass(frozen=True)
class LetterAnswer:
    """A model's answer to one item.

    Args:
        id: The item's id.
        letter: The option letter, or None where none could be read.
        text: The generated text; for ``letter-logits``, the letter, and for ``tools``, the last turn.
        use: Counts of the tool calls, under ``tools``.
        latent_steps: Latent steps that were taken; None without latent feedback.
        opened: Number of the response prefix's tokens that the answer has exactly as often as the prefix; None without
            a prefix, and where nothing is generated.
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
        backbone: Its tokenizer and chat template decide the tokens.
        letters: The option letters.
        prefix: Beginning of the answer that the prompt already holds.
        lead: Words of the answer ahead of the letter.

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
        backbone: Named in messages.
        tokens: Each letter's tokens; see ``letter_tokens``.
        logits: Logits of an answer's first token, (vocab,).

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
