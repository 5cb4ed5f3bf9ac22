"""Answers multiple-choice items with an option letter, in three ways: one forward, constrained or free generation."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, final

from torch import Tensor, nn

from jepa_vlm.adapters import Backbone
from jepa_vlm.errors import BackboneError
from jepa_vlm.generation.inference import inference
from jepa_vlm.generation.letter_parser import parse_letter
from jepa_vlm.trajectories import MultipleChoice

Scoring = Literal["letter-logits", "short", "free"]
SCORINGS: tuple[Scoring, ...] = ("letter-logits", "short", "free")
SHORT_TOKENS = 4  # the paper's limit for a constrained answer

Inputs = Mapping[str, Tensor]


@final
@dataclass(frozen=True)
class LetterAnswer:
    """What a model answered to one item.

    Args:
        id: The item's.
        letter: The option letter, or None where none could be read.
        text: What was generated; for ``letter-logits``, the letter.
    """

    id: str
    letter: str | None
    text: str


def answer_letters(
    backbone: Backbone,
    items: Sequence[MultipleChoice],
    *,
    scoring: Scoring = "letter-logits",
    batch_size: int = 16,
    max_new_tokens: int = 32,
) -> list[LetterAnswer]:
    """Ask every item under one scoring and return the answers, in the items' order; see ``answers_by_scoring``."""
    asked = {"batch_size": batch_size, "max_new_tokens": max_new_tokens}
    return answers_by_scoring(backbone, items, scorings=(scoring,), **asked)[scoring]


def answers_by_scoring(
    backbone: Backbone,
    items: Sequence[MultipleChoice],
    *,
    scorings: Sequence[Scoring],
    batch_size: int = 16,
    max_new_tokens: int = 32,
) -> dict[Scoring, list[LetterAnswer]]:
    """Ask every item and return its answers under each scoring, in the items' order; a prompt is read once for all.

    Prompts are left-padded, decoding is greedy, and every sampling setting is passed, so a checkpoint's own generation
    settings play no part. The model's modes are restored.

    Args:
        backbone: Its model may be PEFT-wrapped and on any device.
        items: What is asked.
        scorings: ``letter-logits``: one forward, the likeliest option letter. ``short``: at most 4 tokens, letters
            only. ``free``: generate, then ``parse_letter``.
        batch_size: Prompts per forward.
        max_new_tokens: Limit of ``free``.

    Raises:
        ValueError: If a scoring, ``batch_size`` or ``max_new_tokens`` is out of range.
        BackboneError: If an option letter is not one token, which ``letter-logits`` needs.
    """
    for scoring in scorings:
        if scoring not in SCORINGS:
            raise ValueError(f"scoring must be one of {', '.join(SCORINGS)}; got {scoring!r}.")
    if batch_size < 1 or max_new_tokens < 1:
        raise ValueError(f"batch_size and max_new_tokens must be at least 1, got {batch_size} and {max_new_tokens}.")
    answers: dict[Scoring, list[LetterAnswer]] = {scoring: [] for scoring in scorings}
    with inference(backbone.model):
        for start in range(0, len(items), batch_size):
            batch = items[start : start + batch_size]
            for scoring, found in _answers(backbone, batch, scorings, max_new_tokens).items():
                answers[scoring] += found
    return answers


def prompt_inputs(backbone: Backbone, items: Sequence[MultipleChoice]) -> Inputs:
    """Return the model's inputs: per item one user turn, images before the prompt, then the generation prompt."""
    messages = [
        [
            {
                "role": "user",
                "content": [
                    *({"type": "image", "image": image.load()} for image in item.images),
                    {"type": "text", "text": item.prompt},
                ],
            }
        ]
        for item in items
    ]
    inputs = backbone.processor.apply_chat_template(
        messages,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        add_generation_prompt=True,
        processor_kwargs={"padding": True, "padding_side": "left"},
    )
    parameter = next(backbone.model.parameters())
    read = set(inspect.signature(backbone.base.forward).parameters) - {"labels"}  # processors return other keys too
    return {
        name: value.to(parameter.device, parameter.dtype if value.is_floating_point() else None)
        for name, value in inputs.items()
        if name in read
    }


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


def _answers(
    backbone: Backbone, items: Sequence[MultipleChoice], scorings: Sequence[Scoring], tokens: int
) -> dict[Scoring, list[LetterAnswer]]:
    """Answer a batch. The logits behind the prompt are the same under every scoring; whichever comes first has them."""
    inputs = prompt_inputs(backbone, items)
    found: dict[Scoring, list[LetterAnswer]] = {}
    with _first_logits(backbone.base) as first:
        if "free" in scorings:
            found["free"] = _free(backbone, items, inputs, tokens)
        if "letter-logits" in scorings:
            if not first:
                backbone.model(**inputs, logits_to_keep=1, use_cache=False)
            found["letter-logits"] = _likeliest(backbone, items, first[0])
        if "short" in scorings:
            known = bool(first) and _one_token_each(backbone, items)
            found["short"] = _likeliest(backbone, items, first[0]) if known else _short(backbone, items, inputs)
    return found


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


def _likeliest(backbone: Backbone, items: Sequence[MultipleChoice], logits: Tensor) -> list[LetterAnswer]:
    answers = []
    for item, row in zip(items, logits, strict=True):
        best = int(row[letter_ids(backbone, item.letters)].argmax())
        answers.append(LetterAnswer(item.id, item.letters[best], item.letters[best]))
    return answers


def _one_token_each(backbone: Backbone, items: Sequence[MultipleChoice]) -> bool:
    """Say whether every letter is one token: constrained greedy decoding then takes the likeliest letter and ends."""
    letters = {letter for item in items for letter in item.letters}
    return all(len(backbone.tokenizer.encode(letter, add_special_tokens=False)) == 1 for letter in letters)


def _short(backbone: Backbone, items: Sequence[MultipleChoice], inputs: Inputs) -> list[LetterAnswer]:
    prompt = inputs["input_ids"].shape[1]
    tries = [_prefix_trie(backbone, item.letters) for item in items]
    ended = [_pad_id(backbone)]

    def allowed(row: int, ids: Tensor) -> list[int]:
        return tries[row].get(tuple(ids[prompt:].tolist()), ended)

    texts = _generate(backbone, inputs, SHORT_TOKENS, allowed)
    read = [text if text in item.letters else None for item, text in zip(items, texts, strict=True)]
    return [LetterAnswer(item.id, letter, text) for item, letter, text in zip(items, read, texts, strict=True)]


def _free(backbone: Backbone, items: Sequence[MultipleChoice], inputs: Inputs, tokens: int) -> list[LetterAnswer]:
    texts = _generate(backbone, inputs, tokens)
    return [
        LetterAnswer(item.id, parse_letter(text, item.letters, item.options), text)
        for item, text in zip(items, texts, strict=True)
    ]


def _generate(
    backbone: Backbone, inputs: Inputs, tokens: int, allowed: Callable[[int, Tensor], list[int]] | None = None
) -> list[str]:
    produced = backbone.model.generate(  # type: ignore[operator]
        **inputs,
        max_new_tokens=tokens,
        min_new_tokens=0,
        do_sample=False,
        num_beams=1,
        temperature=1.0,
        top_k=50,
        top_p=1.0,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        pad_token_id=_pad_id(backbone),
        eos_token_id=_end_ids(backbone),
        prefix_allowed_tokens_fn=allowed,
    )
    new = produced[:, inputs["input_ids"].shape[1] :]
    texts: list[str] = backbone.tokenizer.batch_decode(new, skip_special_tokens=True)
    return texts


def _prefix_trie(backbone: Backbone, letters: Sequence[str]) -> dict[tuple[int, ...], list[int]]:
    trie: dict[tuple[int, ...], list[int]] = {}
    for letter in letters:
        path = [*backbone.tokenizer.encode(letter, add_special_tokens=False), _end_ids(backbone)[0]]
        for depth, token in enumerate(path):
            branches = trie.setdefault(tuple(path[:depth]), [])
            if token not in branches:
                branches.append(token)
    return trie


def _end_ids(backbone: Backbone) -> list[int]:
    own = backbone.model.generation_config.eos_token_id
    more = own if isinstance(own, list) else [own]
    return list(dict.fromkeys(int(i) for i in (backbone.tokenizer.eos_token_id, *more) if i is not None))


def _pad_id(backbone: Backbone) -> int:
    pad = backbone.tokenizer.pad_token_id
    return int(_end_ids(backbone)[0] if pad is None else pad)
