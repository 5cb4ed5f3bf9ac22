"""The tokens of a rendered conversation, each with its place in the text and its marks, from which views are cut."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, final

import torch
from torch import Tensor

from jepa_vlm.adapters import Adapter, ImageTokens
from jepa_vlm.errors import DataError
from jepa_vlm.serialization.template import RenderedText, Span
from jepa_vlm.views import IGNORED, TokenizedView


@final
@dataclass(frozen=True)
class Tokens:
    """A rendered conversation's tokens.

    Args:
        input_ids: Token identifiers, (tokens,).
        image_index: At features: which image; -1 elsewhere.
        image_rows: At features: which row of the image's; -1 elsewhere.
        placed: At all tokens that stand for an image, features or not: which image; -1 elsewhere.
        special: True at tokens that the tokenizer holds for structure.
        spans: Characters of the rendered text that each stands for; all of an image's tokens for its placeholder.
    """

    input_ids: Tensor
    image_index: Tensor
    image_rows: Tensor
    placed: Tensor
    special: Tensor
    spans: tuple[Span, ...]

    def inside(self, span: Span) -> Tensor:
        """Say which tokens hold a character of the span; a tokenizer may join one with the space before it."""
        return (self.begin < span[1]) & (self.end > span[0])

    @cached_property
    def begin(self) -> Tensor:
        """First character of each."""
        return torch.tensor([start for start, _ in self.spans])

    @cached_property
    def end(self) -> Tensor:
        """The character behind each."""
        return torch.tensor([end for _, end in self.spans])


def tokenise(tokenizer: Any, rendered: RenderedText, images: Sequence[ImageTokens], feature_id: int) -> Tokens:
    """Tokenise a rendered conversation as the stock processor would.

    Args:
        tokenizer: The backbone's.
        rendered: The text, one placeholder per image.
        images: What stands for each image.
        feature_id: The token whose place a feature takes; it is tokenised once for each run and then repeated.
    """
    short = _Shortened(rendered, images)
    bos = tokenizer.bos_token
    own_bos = bos is not None and short.text.startswith(bos)  # as ``apply_chat_template`` decides
    coded = tokenizer(short.text, return_offsets_mapping=True, add_special_tokens=not own_bos)
    offsets: list[Span] = coded["offset_mapping"]
    # A token reaches to the next one: where the tokenizer composes characters, its own ends are too early.
    ends_at = dict(pairwise(sorted({start for start, _ in offsets} | {len(short.text)})))
    runs = iter([(i, length) for i, image in enumerate(images) for length in image.runs])
    filled = [0] * len(images)
    ids: list[int] = []
    index: list[int] = []
    rows: list[int] = []
    spans: list[Span] = []
    for token, (start, end) in zip(coded["input_ids"], offsets, strict=True):
        image, repeat = -1, 1
        if token == feature_id and end > start:
            image, repeat = next(runs)
        ids.extend([token] * repeat)
        index.extend([image] * repeat)
        rows.extend(range(filled[image], filled[image] + repeat) if image >= 0 else [-1])
        filled[image] += repeat if image >= 0 else 0
        added = start == end == 0 and not spans
        spans.extend([(0, 0) if added else short.span(start, ends_at[start])] * repeat)
    input_ids = torch.tensor(ids)
    starts = {start: i for i, (start, _) in enumerate(rendered.images)}
    special = [number for number, token in tokenizer.added_tokens_decoder.items() if token.special]
    return Tokens(
        input_ids=input_ids,
        image_index=torch.tensor(index),
        image_rows=torch.tensor(rows),
        placed=torch.tensor([starts.get(start, -1) if end > start else -1 for start, end in spans]),
        special=torch.isin(input_ids, torch.tensor(special)),
        spans=tuple(spans),
    )


@final
class _Shortened:
    """The rendered text with each placeholder replaced by what stands for its image, and the way back."""

    def __init__(self, rendered: RenderedText, images: Sequence[ImageTokens]) -> None:
        pieces: list[str] = []
        self._starts: list[int] = []
        self._placed: list[tuple[Span, Span]] = []  # of each image: in this text, in the rendered one
        at = length = 0
        for image, (start, end) in zip(images, rendered.images, strict=True):
            pieces += [rendered.text[at:start], image.text]
            length += start - at
            self._starts.append(length)
            self._placed.append(((length, length + len(image.text)), (start, end)))
            at, length = end, length + len(image.text)
        self.text = "".join([*pieces, rendered.text[at:]])

    def span(self, start: int, end: int) -> Span:
        """Return the rendered characters of a token."""
        return self._back(start, first=True), self._back(end, first=False)

    def _back(self, place: int, *, first: bool) -> int:
        number = bisect_right(self._starts, place if first else place - 1) - 1
        if number < 0:
            return place
        (_, short_end), (start, end) = self._placed[number]
        if place < short_end or (place == short_end and not first):
            return start if first else end
        return end + place - short_end


Insertion = tuple[int, int]  # a token of the conversation, and how many slots come right after it


@final
@dataclass(frozen=True)
class MarkedTokens:
    """The conversation's tokens, each with its marks, from which views are cut."""

    adapter: Adapter
    text: str
    input_ids: Tensor
    labels: Tensor
    image_index: Tensor
    image_rows: Tensor
    placed: Tensor
    content: Tensor
    question_tokens: Tensor
    written: Sequence[ImageTokens]
    x_end: int  # where T begins
    last_question: int  # the last token of the user's content: Q's, or of an image behind Q
    last_turn: int  # the last reasoning's first token
    last_token: int  # the last reasoning's last token
    turn_end: int  # the end-of-turn token after it
    offsets: Sequence[Span]

    def untrained(self, places: Sequence[tuple[int, int, int]]) -> MarkedTokens:
        """Return the conversation without labels at stretches: first token, last, and how many characters behind it."""
        labels = self.labels.clone()
        for first, last, behind in places:
            until = self.offsets[last][1] + behind
            labels[first : bisect_right(self.offsets, until, lo=last, key=lambda span: span[1])] = IGNORED
        return replace(self, labels=labels)

    def __len__(self) -> int:
        return len(self.input_ids)

    def whole(self, *, insertions: Sequence[Insertion] = (), filler: int = 0) -> TokenizedView:
        """Return all tokens as a view; see ``cut``."""
        return self.cut(torch.arange(len(self)), insertions=insertions, filler=filler)

    def cut(
        self,
        kept: Tensor,
        *,
        last: int | None = None,
        turn_end: int | None = None,
        insertions: Sequence[Insertion] = (),
        filler: int = 0,
    ) -> TokenizedView:
        """Return some tokens as a view, positions restarting at 0.

        Args:
            kept: Numbers of the tokens.
            last, turn_end: The tokens that ``last_token`` and ``turn_end`` are read at; the last turn's if not given.
            insertions: Slots that come after tokens.
            filler: Token that stands in for a slot.
        """
        last = self.last_token if last is None else last
        turn_end = self.turn_end if turn_end is None else turn_end
        image_index = self.image_index[kept]
        is_image = image_index >= 0
        placed = self.placed[kept]
        images = tuple(dict.fromkeys(placed[placed >= 0].tolist()))
        slots = dict(insertions)
        repeats = torch.ones_like(kept)
        for token, count in slots.items():
            repeats[kept == token] += count
        is_slot = torch.ones(int(repeats.sum()), dtype=torch.bool)
        places = repeats.cumsum(0) - repeats  # of the kept tokens; slots fill what is left between them
        is_slot[places] = False
        readouts = {name: int(places[kept == token]) for name, token in (("last_token", last), ("turn_end", turn_end))}
        if last in slots:
            readouts["last_pred"] = readouts["last_token"] + slots[last]

        def spread(values: Tensor, filled: int | bool) -> Tensor:
            return torch.full(is_slot.shape, filled, dtype=values.dtype).index_copy(0, places, values)

        tokens: dict[str, Any] = {
            "input_ids": spread(self.input_ids[kept], filler),
            "labels": spread(self.labels[kept], IGNORED),
            "slots": is_slot,
            "image_tokens": spread(is_image, False),
            "content": spread(self.content[kept], False),
            "trajectory": spread(kept >= self.x_end, False),
            "image_rows": spread(self.image_rows[kept], -1),
            "image_index": spread(image_index, -1),
        }
        positions = self.adapter.positions(tokens["image_tokens"], [self.written[i] for i in images])
        prompt = ~tokens["trajectory"] & ~tokens["slots"]
        return TokenizedView(
            **tokens,
            text=_text_of(self.text, self.offsets, kept),
            images=images,
            positions=positions,
            readouts=readouts,
            groups=self.adapter.bidirectional_groups(tokens["image_tokens"], prompt),
        )


def mark(
    tokens: Tokens, adapter: Adapter, rendered: RenderedText, images: Sequence[ImageTokens], blanks: str
) -> MarkedTokens:
    """Carry the text's spans over to its tokens.

    A prompt ends ahead of ``blanks``, which open a turn, so that the model must learn to write them.
    """
    question = torch.zeros_like(tokens.special)
    for span in rendered.question:
        question |= tokens.inside(span)
    labels = torch.full_like(tokens.input_ids, IGNORED)
    content = question | (tokens.image_index >= 0)
    for span in rendered.observations:
        content |= tokens.inside(span)
    starts_of_turns, ends = [], []
    for span in rendered.reasoning:
        ahead = len(blanks) if rendered.text.endswith(blanks, 0, span[0]) else 0
        spoken = tokens.inside((span[0] - ahead, span[1]))
        if span[0] < span[1] and not spoken.any():
            raise DataError(f"A reasoning step has no token of its own: {rendered.text[span[0] : span[1]]!r}.")
        # A turn that only looks has no tokens; what ends it follows at once.
        starts_of_turns.append(int((spoken if spoken.any() else tokens.begin >= span[0]).nonzero()[0]))
        ends.append(starts_of_turns[-1] + int(spoken.sum()))
        trained = spoken.clone()
        # The template's end-of-turn token: the model must learn to stop. Where a template has none, what follows is
        # another's turn, which it must not learn to begin; the last turn always ends with one.
        trained[ends[-1]] = tokens.special[ends[-1]]
        labels[trained] = tokens.input_ids[trained]
        content |= spoken
    return MarkedTokens(
        adapter=adapter,
        text=rendered.text,
        input_ids=tokens.input_ids,
        labels=labels,
        image_index=tokens.image_index,
        image_rows=tokens.image_rows,
        placed=tokens.placed,
        content=content,
        question_tokens=question,
        written=images,
        x_end=int((tokens.end <= rendered.trajectory).sum()),
        last_question=int((tokens.begin < rendered.question_end).nonzero()[-1]),
        last_turn=starts_of_turns[-1],
        last_token=ends[-1] - 1,
        turn_end=ends[-1],
        offsets=tokens.spans,
    )


def _text_of(text: str, offsets: Sequence[Span], kept: Tensor) -> str:
    """Return the kept tokens' text, each image placeholder once."""
    pieces, at = [], 0
    for start, end in dict.fromkeys(offsets[i] for i in kept.tolist()):  # an image's tokens have one span
        pieces.append(text[max(start, at) : end])
        at = max(at, end)
    return "".join(pieces)
