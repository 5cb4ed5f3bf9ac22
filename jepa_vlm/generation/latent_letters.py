"""Answers a batch of multiple-choice items by latent feedback, read in the same three ways as without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from jepa_vlm.adapters import Backbone
from jepa_vlm.generation.greedy import pad_id
from jepa_vlm.generation.latent_feedback import LatentAnswer, generate_latent
from jepa_vlm.generation.letters import (
    COMPARED,
    SHORT_TOKENS,
    LetterAnswer,
    LetterReader,
    LetterTokens,
    Scoring,
    letter_trie,
    likeliest_letter,
    one_token_each,
    tokens_of_items,
    written_letter,
)
from jepa_vlm.generation.prompt import Inputs
from jepa_vlm.recipe.latent_decoding import LatentDecoding
from jepa_vlm.trajectories import MultipleChoice


def latent_letters(
    backbone: Backbone,
    items: Sequence[MultipleChoice],
    inputs: Inputs,
    scorings: Sequence[Scoring],
    tokens: int,
    read: LetterReader,
    decoding: LatentDecoding,
    prefix: str = "",
) -> dict[Scoring, list[LetterAnswer]]:
    """Return a batch's answers under each scoring; what is compared or constrained is the words behind the look.

    Args:
        backbone, items, scorings, read, prefix: As for ``answers_by_scoring``.
        inputs: The prompts.
        tokens: Limit of ``free``.
        decoding: With at least one step.
    """
    found: dict[Scoring, list[LetterAnswer]] = {}
    letters = _letters(backbone, items, decoding, prefix) if COMPARED & set(scorings) else {}
    written = generate_latent(backbone, inputs, tokens if "free" in scorings else 1, decoding)
    if "free" in scorings:
        texts = _texts(backbone, written)
        plain = [LetterAnswer(item.id, read(text, item), text) for item, text in zip(items, texts, strict=True)]
        found["free"] = _with_steps(plain, [one.steps for one in written])
    whole = all(map(one_token_each, letters.values()))
    likeliest: list[LetterAnswer] = []
    if letters and (whole or "letter-logits" in scorings):
        own = [letters[one.first_looked][row] for row, one in enumerate(written)]
        best = [likeliest_letter(backbone, of, _first_logits(one)) for of, one in zip(own, written, strict=True)]
        answers = [LetterAnswer(item.id, letter, letter) for item, letter in zip(items, best, strict=True)]
        likeliest = _with_steps(answers, [one.first_steps for one in written])
    if "letter-logits" in scorings:
        found["letter-logits"] = likeliest
    if "short" in scorings:
        found["short"] = likeliest if whole else _short(backbone, items, letters, inputs, decoding)
    return found


def _letters(
    backbone: Backbone, items: Sequence[MultipleChoice], decoding: LatentDecoding, prefix: str
) -> dict[bool, list[LetterTokens]]:
    """Return the tokens of each item's letters, behind a look (True) and without one (False)."""
    look = decoding.start + decoding.end + decoding.after
    return {
        looked: tokens_of_items(backbone, items, prefix=prefix, lead=look if looked else "") for looked in (True, False)
    }


def _short(
    backbone: Backbone,
    items: Sequence[MultipleChoice],
    letters: Mapping[bool, Sequence[LetterTokens]],
    inputs: Inputs,
    decoding: LatentDecoding,
) -> list[LetterAnswer]:
    tries = {looked: [letter_trie(backbone, own) for own in of] for looked, of in letters.items()}
    ended = [pad_id(backbone)]

    def allowed(row: int, words: list[int], looked: bool) -> list[int]:
        return tries[looked][row].get(tuple(words), ended)

    written = generate_latent(backbone, inputs, SHORT_TOKENS, decoding, allowed)
    texts = _texts(backbone, written)
    read = [
        written_letter(letters[True][row], one.ids) or written_letter(letters[False][row], one.ids)
        for row, one in enumerate(written)
    ]
    plain = [LetterAnswer(item.id, letter, text.strip()) for item, letter, text in zip(items, read, texts, strict=True)]
    return _with_steps(plain, [one.steps for one in written])


def _first_logits(one: LatentAnswer) -> Tensor:
    if one.first_logits is None:
        raise RuntimeError("An answer broke off inside its first look, so that no letter can be read.")
    return one.first_logits


def _texts(backbone: Backbone, written: Sequence[LatentAnswer]) -> list[str]:
    texts: list[str] = backbone.tokenizer.batch_decode([one.ids for one in written], skip_special_tokens=True)
    return texts


def _with_steps(answers: Sequence[LetterAnswer], steps: Sequence[int]) -> list[LetterAnswer]:
    return [replace(answer, latent_steps=own) for answer, own in zip(answers, steps, strict=True)]
