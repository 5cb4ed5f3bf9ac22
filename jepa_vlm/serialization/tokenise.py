"""From rendered text to tokens, each with its place in the text; images expanded as the processor would."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, final

import torch
from torch import Tensor

from jepa_vlm.adapters import ImageTokens
from jepa_vlm.serialization.template import RenderedText, Span


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
