"""Generation with latent feedback: batched, over the backbone's own ``generate`` and its cache, for any family.

The loop is transformers'. Three hooks make it a latent one: the decoder's last states are kept, a logits processor
decides for each row what comes next, and where that is a latent step, the embedding layer hands out the state instead
of a token's embedding. Rows of a batch enter and leave on their own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn
from transformers import LogitsProcessor

from jepa_vlm.adapters import Backbone
from jepa_vlm.adapters.chat import answer_turn
from jepa_vlm.errors import BackboneError
from jepa_vlm.generation.answering import Latents
from jepa_vlm.generation.greedy import Inputs, end_ids, generate
from jepa_vlm.predictors.saved import describe_head
from jepa_vlm.typing import Hidden

MOST_SEGMENTS = 8  # latent segments of an answer; a START beyond them is a word like any other

# The tokens that may follow, by row, its words' tokens so far, and whether it has had a latent segment.
Allowed = Callable[[int, list[int], bool], list[int]]


@final
@dataclass
class LatentAnswer:
    """What one row wrote.

    Args:
        ids: Tokens of its words, START, END and latent steps left out.
        steps: Latent steps that were really taken.
        segments: Number of its latent segments.
        first_logits: Logits of its first word's token, (vocab,): behind the first latent segment, or behind the prompt
            if there is none.
        first_steps: Latent steps before that token.
        first_behind: Whether that token is behind a latent segment.
    """

    ids: list[int] = field(default_factory=list)
    steps: int = 0
    segments: int = 0
    first_logits: Tensor | None = None
    first_steps: int = 0
    first_behind: bool = False


def generate_latent(
    backbone: Backbone, inputs: Inputs, tokens: int, answering: Latents, allowed: Allowed | None = None
) -> list[LatentAnswer]:
    """Return what follows each prompt: greedy words, with latent feedback between START and END.

    Args:
        backbone: Its model, inside ``inference``.
        inputs: Left-padded prompts.
        tokens: Most words' tokens of an answer; those of latent segments do not count.
        answering: When latent segments begin and end, and what is fed.
        allowed: Restricts the words; None allows all.

    Raises:
        BackboneError: If START or END is no single token of the vocabulary, or the backbone's head is not the one that
            the answering names.
    """
    machine = _Machine(backbone, inputs["input_ids"].shape[0], answering, tokens, allowed)
    with machine.attached():
        produced = generate(backbone, inputs, tokens + machine.overhead, processors=[machine])
    machine.finish(produced)
    return machine.answers


@final
class _Row:
    """Where one answer is."""

    def __init__(self, forced: list[int]) -> None:
        self.queue = deque(forced)  # tokens that come next, whatever the model says
        self.left = 0  # latent steps that are still to be taken
        self.inside = False
        self.ended = False
        self.written: list[bool] = []  # whether each token is a word's


@final
class _Machine(LogitsProcessor):
    """Decides what comes next, and feeds states. Lives for one ``generate``."""

    def __init__(self, backbone: Backbone, rows: int, answering: Latents, tokens: int, allowed: Allowed | None) -> None:
        self.backbone, self.answering, self.tokens, self.allowed = backbone, answering, tokens, allowed
        self.steps = answering.steps
        self.start, self.end = marks(backbone, answering)
        self.head = _head(backbone, answering)
        # Together, as in training: alone, some tokenizers would put a space before the words.
        closing = backbone.tokenizer.encode(answering.end + answering.after, add_special_tokens=False)
        self.closing = closing[closing.index(self.end) :]
        forced: list[int] = []
        if self.steps and answering.entry == "forced":
            forced = list(answer_turn(backbone.processor, answering.start).ids)  # some templates write a blank ahead
        self.overhead = MOST_SEGMENTS * (1 + self.steps + len(self.closing)) + len(forced) if self.steps else 0
        self.endings = end_ids(backbone)
        self.rows = [_Row(forced) for _ in range(rows)]
        self.answers = [LatentAnswer() for _ in range(rows)]
        self.noise = torch.Generator().manual_seed(answering.seed)
        self.states: Tensor | None = None
        self.feeding: dict[int, Hidden] = {}

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Watch the decoder's states, and hand out states in the embedding layer's place."""
        decoder = self.backbone.adapter.decoder(self.backbone.base)
        embedding = self.backbone.base.get_input_embeddings()
        handles = [decoder.register_forward_hook(self._keep), embedding.register_forward_hook(self._feed)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the scores, with all but one token ruled out where the next one is settled."""
        chosen = torch.full_like(scores, float("-inf"))
        likeliest, newest = scores.argmax(dim=1).tolist(), input_ids[:, -1].tolist()
        for number, row in enumerate(self.rows):
            row.ended = row.ended or (bool(row.written) and newest[number] in self.endings)
            if row.ended:  # the others go on; what it would write now is not part of its answer
                row.written.append(False)
                chosen[number, self.endings[0]] = 0
                continue
            answer, free = self.answers[number], not row.queue and not row.inside
            behind = bool(answer.segments)
            token = self._settled(number, row, likeliest[number])
            if free and answer.first_logits is None and (behind or token is None):
                answer.first_logits, answer.first_steps = scores[number].clone(), answer.steps
                answer.first_behind = bool(answer.segments)
            if token is None and sum(row.written) == self.tokens:
                row.written.append(False)
                token = self.endings[0]
            if token is not None:
                chosen[number, token] = 0
                continue
            row.written.append(True)
            if self.allowed is None:
                chosen[number] = scores[number]
            else:
                own = self.allowed(number, self._words(number, input_ids), bool(answer.segments))
                chosen[number, own] = scores[number, own]
        return chosen

    def finish(self, produced: Tensor) -> None:
        """Sort out the words' tokens."""
        for answer, row, ids in zip(self.answers, self.rows, produced.tolist(), strict=True):
            answer.ids = [token for token, word in zip(ids, row.written, strict=False) if word]

    def _settled(self, number: int, row: _Row, likeliest: int) -> int | None:
        """Return the token that a row must take, or None where the model is free. Move the row on."""
        if not row.queue and not row.inside and self.steps and likeliest == self.start and self._may_begin(number, row):
            row.queue.append(self.start)
        if row.queue:
            token = row.queue.popleft()
            row.written.append(False)
            if token == self.start:
                self.answers[number].segments += 1
                row.inside, row.left = True, 0 if self.answering.control == "dropped" else self.steps
            return token
        if not row.inside:
            return None
        early = self.answering.leave == "end" and likeliest == self.end
        if row.left and not early:
            row.left -= 1
            self.answers[number].steps += 1
            self.feeding[number] = self._fed(number)
            row.written.append(False)
            return self.start  # stands in its place among the tokens, and never ends an answer
        row.inside = False
        row.queue.extend(self.closing)
        return self._settled(number, row, likeliest)

    def _may_begin(self, number: int, row: _Row) -> bool:
        segments = self.answers[number].segments
        if segments >= MOST_SEGMENTS or sum(row.written) == self.tokens:
            return False
        return self.allowed is None or (self.answering.entry == "model" and not segments)

    def _words(self, number: int, input_ids: Tensor) -> list[int]:
        written = self.rows[number].written[:-1]
        new: list[int] = input_ids[number, input_ids.shape[1] - len(written) :].tolist() if written else []
        return [token for token, word in zip(new, written, strict=True) if word]

    def _fed(self, number: int) -> Hidden:
        if self.states is None:
            raise RuntimeError("The decoder was not seen to run; its states cannot be fed back.")
        state = self.states[number]
        if self.head is not None:
            state = self.head(state[None])[0]
        if self.answering.control == "noise":
            drawn = torch.randn(state.shape, generator=self.noise).to(state)
            scaled: Hidden = drawn * (state.norm() / drawn.norm())
            return scaled
        return state

    def _keep(self, module: nn.Module, args: object, output: Any) -> None:
        self.states = output.last_hidden_state[:, -1]

    def _feed(self, module: nn.Module, args: object, output: Tensor) -> Tensor:
        if not self.feeding:
            return output
        if output.shape[1] != 1:
            raise RuntimeError(f"A state is fed at one new position, but the model embeds {output.shape[1]} at once.")
        fed: Tensor = output.clone()
        for number, state in self.feeding.items():
            fed[number, 0] = state.to(fed.dtype)
        self.feeding = {}
        return fed


def marks(backbone: Backbone, answering: Latents) -> tuple[int, int]:
    """Return the ids of START and END.

    Raises:
        BackboneError: If one of them is not one token of the vocabulary.
    """
    start, end = (_one_token(backbone, token) for token in (answering.start, answering.end))
    return start, end


def _head(backbone: Backbone, answering: Latents) -> nn.Module | None:
    """Return the head that states pass through before they are fed, on the backbone's device."""
    head = backbone.latent_head
    held = None if head is None else describe_head(head)
    if held != answering.head:
        raise BackboneError(
            f"Latent feedback must feed states through the head that training compared, {answering.head}, but the "
            f"backbone has {held}; load the run or its export, or set backbone.latent_head to the objective's own head."
        )
    return None if head is None else head.to(next(backbone.base.parameters()).device)


def _one_token(backbone: Backbone, token: str) -> int:
    ids: list[int] = backbone.tokenizer.encode(token, add_special_tokens=False)
    if len(ids) != 1:
        raise BackboneError(
            f"Latent feedback needs {token!r} as one token of the vocabulary, but it is {len(ids)}; was this model "
            "trained by a recipe with latent tokens?"
        )
    return ids[0]
