"""Answer multiple-choice items with an option letter, in three ways: one forward, constrained or free generation.

``plain_letters`` does it by plain generation, ``latent_letters`` with latent feedback between prompt and answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, final

from torch import Tensor, nn

from jepa_vlm.adapters import Backbone
from jepa_vlm.generation.answering import Answering, Latents, Plain
from jepa_vlm.generation.greedy import (
    Inputs,
    generate,
    inference,
    pad_id,
    prompt_inputs,
    question_turn,
    system_turn,
)
from jepa_vlm.generation.latent_feedback import LatentAnswer, generate_latent
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
from jepa_vlm.trajectories import MultipleChoice

Answers = dict[Scoring, list[LetterAnswer]]


@final
@dataclass(frozen=True)
class LetterBatch:
    """Multiple-choice items that are asked together.

    Args:
        backbone: Its model, inside ``inference``.
        items: The multiple-choice items.
        inputs: The items' prompts.
        scorings: How the letters are read.
        tokens: Most new tokens under ``free``; a response prefix comes on top.
        read: Reads the letter under ``free``.
        prefix: Beginning of every answer that the prompt already holds.
    """

    backbone: Backbone
    items: Sequence[MultipleChoice]
    inputs: Inputs
    scorings: Sequence[Scoring]
    tokens: int
    read: LetterReader
    prefix: str

    @property
    def compares(self) -> bool:
        """Whether the tokens of letters are compared under one of the scorings."""
        return not COMPARED.isdisjoint(self.scorings)

    def letters(self, lead: str = "") -> list[LetterTokens]:
        """Return the tokens of each item's letters behind the words ``lead`` of an answer."""
        return tokens_of_items(self.backbone, self.items, prefix=self.prefix, lead=lead)

    def likeliest(self, letters: Sequence[LetterTokens], logits: Sequence[Tensor] | Tensor) -> list[LetterAnswer]:
        """Return each item's likeliest letter by the logits of its answer's first token, each (vocab,)."""
        best = [likeliest_letter(self.backbone, own, row) for own, row in zip(letters, logits, strict=True)]
        return [LetterAnswer(item.id, letter, letter) for item, letter in zip(self.items, best, strict=True)]

    def constrained(self, read: Sequence[str | None], ids: Sequence[Sequence[int]] | Tensor) -> list[LetterAnswer]:
        """Return the letters that constrained decoding wrote, with its text."""
        texts = self.backbone.tokenizer.batch_decode(ids, skip_special_tokens=True)
        return [LetterAnswer(i.id, one, text.strip()) for i, one, text in zip(self.items, read, texts, strict=True)]


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
    answering: Answering = Plain(),  # noqa: B008
) -> Answers:
    """Ask every item and return its answers under each scoring, in the items' order; a prompt is read once for all.

    Prompts are left-padded, decoding is greedy, and every sampling setting is passed, so a checkpoint's own generation
    settings play no part. The model's modes are restored.

    Args:
        backbone: Its model may be PEFT-wrapped and on any device.
        items: The multiple-choice items.
        scorings: ``letter-logits``: one forward, the likeliest option letter. ``short``: at most 4 tokens, letters
            only. ``free``: generate, then ``read``.
        batch_size: Prompts per forward.
        max_new_tokens: Most new tokens under ``free``; a response prefix comes on top.
        read: Reads the letter under ``free``.
        prefix: Beginning that every answer is given in the prompt; it is not part of the answer's text.
        system: The system turn; "" for the chat template's own.
        answering: How the model answers. Tools are left out.

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
    answers: Answers = {scoring: [] for scoring in scorings}
    ahead = [system_turn(system)] if system else []
    with inference(backbone.model), backbone.precision():
        for start in range(0, len(items), batch_size):
            batch = items[start : start + batch_size]
            inputs = prompt_inputs(backbone, [[*ahead, question_turn(item)] for item in batch], prefix=prefix)
            found = answering.letters(LetterBatch(backbone, batch, inputs, scorings, max_new_tokens, read, prefix))
            for scoring, own in found.items():
                answers[scoring] += own
    return answers


def plain_letters(batch: LetterBatch, answering: Plain) -> Answers:
    """Answer a batch by plain generation.

    The logits behind the prompt are the same under every scoring; the first forward computes them.
    """
    backbone, items = batch.backbone, batch.items
    found: Answers = {}
    letters = batch.letters() if batch.compares else []
    with _first_logits(backbone.base) as first:
        if "free" in batch.scorings:
            produced = generate(backbone, batch.inputs, batch.tokens + answering.room)
            texts = [backbone.tokenizer.decode(ids, skip_special_tokens=True) for ids in produced]
            opened = [_tokens_written(backbone, ids, answering) for ids in produced]
            found["free"] = [
                LetterAnswer(item.id, batch.read(text, item), text, opened=own)
                for item, text, own in zip(items, texts, opened, strict=True)
            ]
        if "letter-logits" in batch.scorings:
            if not first:
                backbone.model(**batch.inputs, logits_to_keep=1, use_cache=False)
            found["letter-logits"] = batch.likeliest(letters, first[0])
        if "short" in batch.scorings:
            known = bool(first) and one_token_each(letters)
            found["short"] = batch.likeliest(letters, first[0]) if known else _short(batch, letters)
    return found


def latent_letters(batch: LetterBatch, answering: Latents) -> Answers:
    """Answer a batch with latent feedback. The words behind a latent segment are compared or constrained.

    Args:
        batch: The items.
        answering: Latent feedback of at least one step.
    """
    found: Answers = {}
    # The tokens of each item's letters, behind a latent segment (True) and without one (False).
    segment = answering.start + answering.end + answering.after
    letters = {behind: batch.letters(segment if behind else "") for behind in (True, False)} if batch.compares else {}
    tokens = batch.tokens if "free" in batch.scorings else 1
    written = generate_latent(batch.backbone, batch.inputs, tokens, answering)
    if "free" in batch.scorings:
        ids = [one.ids for one in written]
        texts: list[str] = batch.backbone.tokenizer.batch_decode(ids, skip_special_tokens=True)
        read = [LetterAnswer(i.id, batch.read(text, i), text) for i, text in zip(batch.items, texts, strict=True)]
        found["free"] = _with_steps(read, [one.steps for one in written])
    whole = all(map(one_token_each, letters.values()))
    likeliest: list[LetterAnswer] = []
    if letters and (whole or "letter-logits" in batch.scorings):
        own = [letters[one.first_behind][row] for row, one in enumerate(written)]
        answers = batch.likeliest(own, [_first_word(one) for one in written])
        likeliest = _with_steps(answers, [one.first_steps for one in written])
    if "letter-logits" in batch.scorings:
        found["letter-logits"] = likeliest
    if "short" in batch.scorings:
        found["short"] = likeliest if whole else _latent_short(batch, letters, answering)
    return found


def _short(batch: LetterBatch, letters: Sequence[LetterTokens]) -> list[LetterAnswer]:
    backbone, prompt = batch.backbone, batch.inputs["input_ids"].shape[1]
    tries, ended = [letter_trie(backbone, own) for own in letters], [pad_id(backbone)]

    def allowed(row: int, ids: Tensor) -> list[int]:
        return tries[row].get(tuple(ids[prompt:].tolist()), ended)

    produced = generate(backbone, batch.inputs, SHORT_TOKENS, allowed)
    read = [written_letter(own, ids) for own, ids in zip(letters, produced.tolist(), strict=True)]
    return batch.constrained(read, produced)


def _latent_short(
    batch: LetterBatch, letters: dict[bool, list[LetterTokens]], answering: Latents
) -> list[LetterAnswer]:
    tries = {behind: [letter_trie(batch.backbone, own) for own in of] for behind, of in letters.items()}
    ended = [pad_id(batch.backbone)]

    def allowed(row: int, words: list[int], behind: bool) -> list[int]:
        return tries[behind][row].get(tuple(words), ended)

    written = generate_latent(batch.backbone, batch.inputs, SHORT_TOKENS, answering, allowed)
    read = [
        written_letter(letters[True][row], one.ids) or written_letter(letters[False][row], one.ids)
        for row, one in enumerate(written)
    ]
    return _with_steps(batch.constrained(read, [one.ids for one in written]), [one.steps for one in written])


def _tokens_written(backbone: Backbone, ids: Tensor, answering: Plain) -> int | None:
    """Return how many tokens of the response prefix were written, each as often as it should be; None without one."""
    if not answering.tokens:
        return None
    written = ids.tolist()
    numbers = {token: backbone.tokenizer.convert_tokens_to_ids(token) for token in answering.tokens}
    return sum(written.count(numbers[token]) == count for token, count in answering.counts.items())


@contextmanager
def _first_logits(model: nn.Module) -> Iterator[list[Tensor]]:
    """Keep the last position's logits of the first forward inside the block."""
    seen: list[Tensor] = []

    def keep(module: nn.Module, args: object, output: Any) -> None:
        if not seen:
            seen.append(output.logits[:, -1].clone())

    handle = model.register_forward_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()


def _first_word(one: LatentAnswer) -> Tensor:
    """Return the logits of an answer's first word, (vocab,)."""
    if one.first_logits is None:
        raise RuntimeError("An answer broke off inside its first latent segment, so that no letter can be read.")
    return one.first_logits


def _with_steps(answers: Sequence[LetterAnswer], steps: Sequence[int]) -> list[LetterAnswer]:
    return [replace(answer, latent_steps=own) for answer, own in zip(answers, steps, strict=True)]
