"""Option letters: how a model's answer to a multiple-choice item becomes one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, final

from torch import Tensor

from jepa_vlm.adapters import Backbone
from jepa_vlm.errors import BackboneError
from jepa_vlm.generation.greedy import end_ids
from jepa_vlm.generation.letter_parser import parse_letter
from jepa_vlm.generation.tool_use import ToolUse
from jepa_vlm.trajectories import MultipleChoice

Scoring = Literal["letter-logits", "short", "free", "tools"]
SCORINGS: tuple[Scoring, ...] = ("letter-logits", "short", "free")  # those of one prompt
SHORT_TOKENS = 4  # the paper's limit for a constrained answer

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


def letter_ids(backbone: Backbone, letters: Sequence[str]) -> list[int]:
    """Return the token of each letter.

    Raises:
        BackboneError: If a letter takes more than one token.
    """
    ids = [backbone.tokenizer.encode(letter, add_special_tokens=False) for letter in letters]
    for letter, tokens in zip(letters, ids, strict=True):
        if len(tokens) != 1:
            raise BackboneError(
                f"letter-logits compares option letters by one token each, but {letter!r} takes {len(tokens)} tokens "
                f"in the tokenizer of {backbone.name!r}; use the scoring 'short'."
            )
    return [tokens[0] for tokens in ids]


def likeliest_letters(backbone: Backbone, items: Sequence[MultipleChoice], logits: Tensor) -> list[LetterAnswer]:
    """Return for each item the option letter with the largest logit behind its prompt, ("items vocab")."""
    answers = []
    for item, row in zip(items, logits, strict=True):
        best = int(row[letter_ids(backbone, item.letters)].argmax())
        answers.append(LetterAnswer(item.id, item.letters[best], item.letters[best]))
    return answers


def one_token_each(backbone: Backbone, items: Sequence[MultipleChoice]) -> bool:
    """Say whether every letter is one token: constrained greedy decoding then takes the likeliest letter and ends."""
    letters = {letter for item in items for letter in item.letters}
    return all(len(backbone.tokenizer.encode(letter, add_special_tokens=False)) == 1 for letter in letters)


def letter_trie(backbone: Backbone, letters: Sequence[str]) -> dict[tuple[int, ...], list[int]]:
    """Return by tokens so far those that may follow, so that a letter and then the end comes out."""
    trie: dict[tuple[int, ...], list[int]] = {}
    for letter in letters:
        path = [*backbone.tokenizer.encode(letter, add_special_tokens=False), end_ids(backbone)[0]]
        for depth, token in enumerate(path):
            branches = trie.setdefault(tuple(path[:depth]), [])
            if token not in branches:
                branches.append(token)
    return trie
