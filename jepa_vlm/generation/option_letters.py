"""Answers multiple-choice items with an option letter, in three ways: one forward, constrained or free generation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from jepa_vlm.adapters import Backbone
from jepa_vlm.adapters.chat import Turn
from jepa_vlm.generation.greedy import generate, pad_id
from jepa_vlm.generation.inference import inference
from jepa_vlm.generation.latent_letters import latent_letters
from jepa_vlm.generation.letters import (
    COMPARED,
    SCORINGS,
    SHORT_TOKENS,
    LetterAnswer,
    LetterReader,
    LetterTokens,
    Scoring,
    letter_trie,
    likeliest_letter,
    one_token_each,
    read_letter,
    tokens_of_items,
    written_letter,
)
from jepa_vlm.generation.prompt import Inputs, prompt_inputs, user_turn
from jepa_vlm.recipe.latent_decoding import LatentDecoding
from jepa_vlm.recipe.opening import Opening
from jepa_vlm.trajectories import MultipleChoice


def answer_letters(
    backbone: Backbone,
    items: Sequence[MultipleChoice],
    *,
    scoring: Scoring = "letter-logits",
    batch_size: int = 16,
    max_new_tokens: int = 32,
) -> list[LetterAnswer]:
    """Ask every item under one scoring and return the answers, in the items' order; see ``answers_by_scoring``."""
    found = answers_by_scoring(
        backbone, items, scorings=(scoring,), batch_size=batch_size, max_new_tokens=max_new_tokens
    )
    return found[scoring]


def answers_by_scoring(
    backbone: Backbone,
    items: Sequence[MultipleChoice],
    *,
    scorings: Sequence[Scoring],
    batch_size: int = 16,
    max_new_tokens: int = 32,
    read: LetterReader = read_letter,
    prefix: str = "",
    system: str = "",
    latents: LatentDecoding | None = None,
    opening: Opening | None = None,
) -> dict[Scoring, list[LetterAnswer]]:
    """Ask every item and return its answers under each scoring, in the items' order; a prompt is read once for all.

    Prompts are left-padded, decoding is greedy, and every sampling setting is passed, so a checkpoint's own generation
    settings play no part. The model's modes are restored.

    Args:
        backbone: Its model may be PEFT-wrapped and on any device.
        items: What is asked.
        scorings: ``letter-logits``: one forward, the likeliest option letter. ``short``: at most 4 tokens, letters
            only. ``free``: generate, then ``read``.
        batch_size: Prompts per forward.
        max_new_tokens: Limit of ``free``; an opening comes on top.
        read: Reads the letter of ``free``.
        prefix: What every answer is made to begin with; not part of its text.
        system: The system turn; "" for the chat template's own.
        latents: Latent feedback between the prompt and the answer; None, or no steps, is plain generation.
        opening: What the model may write ahead of its answer, under ``free``; it is counted.

    Raises:
        ValueError: If a scoring, ``batch_size`` or ``max_new_tokens`` is out of range.
        BackboneError: If ``letter-logits`` or ``short`` cannot compare letters: prompts are not as trained, a letter is
            joined with what comes ahead of it, or, under ``letter-logits``, two letters begin with the same token.
    """
    for scoring in scorings:
        if scoring not in SCORINGS:
            raise ValueError(f"scoring must be one of {', '.join(SCORINGS)}; got {scoring!r}.")
    if batch_size < 1 or max_new_tokens < 1:
        raise ValueError(f"batch_size and max_new_tokens must be at least 1, got {batch_size} and {max_new_tokens}.")
    answers: dict[Scoring, list[LetterAnswer]] = {scoring: [] for scoring in scorings}
    with inference(backbone.model), backbone.precision():
        for start in range(0, len(items), batch_size):
            batch = items[start : start + batch_size]
            inputs = prompt_inputs(backbone, [_turns(item, system) for item in batch], prefix=prefix)
            if latents is not None and latents.steps:
                found = latent_letters(backbone, batch, inputs, scorings, max_new_tokens, read, latents, prefix)
            else:
                letters = tokens_of_items(backbone, batch, prefix=prefix) if COMPARED & set(scorings) else []
                found = _answers(backbone, batch, letters, inputs, scorings, max_new_tokens, read, opening)
            for scoring, own in found.items():
                answers[scoring] += own
    return answers


def _turns(item: MultipleChoice, system: str) -> list[Turn]:
    asked = user_turn(item.prompt, [image.load() for image in item.images])
    return [{"role": "system", "content": [{"type": "text", "text": system}]}, asked] if system else [asked]


def _answers(
    backbone: Backbone,
    items: Sequence[MultipleChoice],
    letters: Sequence[LetterTokens],
    inputs: Inputs,
    scorings: Sequence[Scoring],
    tokens: int,
    read: LetterReader,
    opening: Opening | None,
) -> dict[Scoring, list[LetterAnswer]]:
    """Answer a batch. The logits behind the prompt are the same under every scoring; whichever comes first has them."""
    found: dict[Scoring, list[LetterAnswer]] = {}
    with _first_logits(backbone.base) as first:
        if "free" in scorings:
            produced = generate(backbone, inputs, tokens + (opening.room if opening else 0))
            texts = [backbone.tokenizer.decode(ids, skip_special_tokens=True) for ids in produced]
            opened = [_opened(backbone, ids, opening) for ids in produced]
            found["free"] = [
                LetterAnswer(i.id, read(text, i), text, opened=own)
                for i, text, own in zip(items, texts, opened, strict=True)
            ]
        if "letter-logits" in scorings:
            if not first:
                backbone.model(**inputs, logits_to_keep=1, use_cache=False)
            found["letter-logits"] = _likeliest(backbone, items, letters, first[0])
        if "short" in scorings:
            known = bool(first) and one_token_each(letters)
            found["short"] = (
                _likeliest(backbone, items, letters, first[0]) if known else _short(backbone, items, letters, inputs)
            )
    return found


def _opened(backbone: Backbone, ids: Tensor, opening: Opening | None) -> int | None:
    """Return how many of the opening's tokens were written, each as often as it should be."""
    if opening is None:
        return None
    written = ids.tolist()
    numbers = {token: backbone.tokenizer.convert_tokens_to_ids(token) for token in opening.tokens}
    return sum(written.count(numbers[token]) == count for token, count in opening.counts.items())


@contextmanager
def _first_logits(model: nn.Module) -> Iterator[list[Tensor]]:
    """Keep the last position's logits of the first forward inside the block."""
    seen: list[Tensor] = []

    def keep(module: nn.Module, args: Any, output: Any) -> None:
        if not seen:
            seen.append(output.logits[:, -1].clone())

    handle = model.register_forward_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()


def _likeliest(
    backbone: Backbone, items: Sequence[MultipleChoice], letters: Sequence[LetterTokens], logits: Tensor
) -> list[LetterAnswer]:
    found = [likeliest_letter(backbone, own, row) for own, row in zip(letters, logits, strict=True)]
    return [LetterAnswer(item.id, letter, letter) for item, letter in zip(items, found, strict=True)]


def _short(
    backbone: Backbone, items: Sequence[MultipleChoice], letters: Sequence[LetterTokens], inputs: Inputs
) -> list[LetterAnswer]:
    prompt = inputs["input_ids"].shape[1]
    tries = [letter_trie(backbone, own) for own in letters]
    ended = [pad_id(backbone)]

    def allowed(row: int, ids: Tensor) -> list[int]:
        return tries[row].get(tuple(ids[prompt:].tolist()), ended)

    produced = generate(backbone, inputs, SHORT_TOKENS, allowed)
    texts = backbone.tokenizer.batch_decode(produced, skip_special_tokens=True)
    read = [written_letter(own, ids) for own, ids in zip(letters, produced.tolist(), strict=True)]
    return [LetterAnswer(item.id, letter, text.strip()) for item, letter, text in zip(items, read, texts, strict=True)]
