"""Answers a batch of multiple-choice items by latent feedback, read in the same three ways as without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from jepa_vlm.adapters import Backbone
from jepa_vlm.generation.greedy import pad_id
from jepa_vlm.generation.latent_feedback import LatentAnswer, generate_latent
from jepa_vlm.generation.letters import (
    SHORT_TOKENS,
    LetterAnswer,
    LetterReader,
    Scoring,
    letter_trie,
    likeliest_letters,
    one_token_each,
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
) -> dict[Scoring, list[LetterAnswer]]:
    """Return a batch's answers under each scoring; what is compared or constrained is the words behind the look.

    Args:
        backbone, items, scorings, read: As for ``answers_by_scoring``.
        inputs: The prompts.
        tokens: Limit of ``free``.
        decoding: With at least one step.
    """
    found: dict[Scoring, list[LetterAnswer]] = {}
    written = generate_latent(backbone, inputs, tokens if "free" in scorings else 1, decoding)
    if "free" in scorings:
        texts = _texts(backbone, written)
        plain = [LetterAnswer(item.id, read(text, item), text) for item, text in zip(items, texts, strict=True)]
        found["free"] = _with_steps(plain, [one.steps for one in written])
    first = torch.stack([_first_logits(one) for one in written])
    whole = one_token_each(backbone, items)
    likeliest: list[LetterAnswer] = []
    if whole or "letter-logits" in scorings:
        likeliest = _with_steps(likeliest_letters(backbone, items, first), [one.first_steps for one in written])
    if "letter-logits" in scorings:
        found["letter-logits"] = likeliest
    if "short" in scorings:
        found["short"] = likeliest if whole else _short(backbone, items, inputs, decoding)
    return found


def _short(
    backbone: Backbone, items: Sequence[MultipleChoice], inputs: Inputs, decoding: LatentDecoding
) -> list[LetterAnswer]:
    tries = [letter_trie(backbone, item.letters) for item in items]
    ended = [pad_id(backbone)]

    def allowed(row: int, words: list[int]) -> list[int]:
        return tries[row].get(tuple(words), ended)

    written = generate_latent(backbone, inputs, SHORT_TOKENS, decoding, allowed)
    texts = _texts(backbone, written)
    read = [text if text in item.letters else None for item, text in zip(items, texts, strict=True)]
    plain = [LetterAnswer(item.id, letter, text) for item, letter, text in zip(items, read, texts, strict=True)]
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
