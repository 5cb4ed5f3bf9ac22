"""Derives the cheapest exact passes from the requested views. Nobody sets a flag: what is shared follows from tokens.

- Views with gradient go into one packed sequence. A view that shares a prefix of tokens with another one computes only
  what differs, as a suffix: causal attention never looks ahead, so the prefix's states are the same.
- Views read only detached go into forward-only sequences, one for each set of weights. If the sequence with gradient
  computes such a view anyway, its states are read from there.
- Views whose latent tokens are fed the state before them cannot be packed: each is a sequence of its own.
- What nobody reads at the end of a view is not computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from jepa_vlm.engine.attention import kernel_indices
from jepa_vlm.engine.batch import BatchPlan, LatentTokens, Layout, Location, PackedSequence, SoftTokens, Suffix
from jepa_vlm.views import Request, TokenizedView

MIN_SHARED = 8  # tokens: below it, an attention call of its own costs more than the recomputation
GRADIENT, FEEDBACK = "gradient", "feedback:"  # names of packed sequences; the second goes on with the encoding's number


@final
@dataclass(frozen=True)
class Piece:
    """A view's share of a packed sequence: what it computes itself, and what it shares.

    Args:
        encoding: Which view, under which weights.
        example: Which example.
        view: Its tokens.
        needed: How many of them, from the front, are read or precede something that is read.
        identity: One number per token; see ``TokenizedView.identity``.
    """

    encoding: Request
    example: int
    view: TokenizedView
    needed: int
    identity: Tensor


@final
class OnePassPlanner:
    """Packs the views of a batch into the fewest exact passes.

    Args:
        encodings: What the objective needs.
        share_detached: Whether detached views may be read from the sequence with gradient; false where that one runs
            with dropout, which targets must not.
    """

    images_together = True

    def __init__(self, *, encodings: Sequence[Request], share_detached: bool = True) -> None:
        self.encodings, self.share_detached = tuple(encodings), share_detached

    def __call__(
        self,
        views: Mapping[Request, Sequence[TokenizedView]],
        needed: Mapping[Request, Sequence[int]],
        image_starts: Sequence[Sequence[int]],
    ) -> BatchPlan:
        """Plan a batch.

        Args:
            views: By encoding, then by example.
            needed: Likewise: how many tokens of the view, from the front, must be computed.
            image_starts: By example, then by image: first row of its features among the batch's.
        """
        pieces = {
            encoding: [
                Piece(encoding, i, view, whole_groups(view.groups, count), view.identity())
                for i, (view, count) in enumerate(zip(views[encoding], needed[encoding], strict=True))
            ]
            for encoding in self.encodings
        }
        shared: dict[str, list[Request]] = {}
        for encoding in self.encodings:
            shared.setdefault(self._sequence_name(encoding, pieces), []).append(encoding)
        sequences: dict[str, PackedSequence | list[PackedSequence]] = {}
        locations: dict[Request, Location] = {}
        for name in sorted(shared, key=lambda name: name == GRADIENT):
            if name.startswith(FEEDBACK):
                (encoding,) = shared[name]
                sequences[name], locations[encoding] = self._sequences(name, pieces[encoding], image_starts)
                continue
            builder = _Packer(image_starts)
            for i in range(len(image_starts)):
                builder.add_example([pieces[encoding][i] for encoding in shared[name]])
            sequences[name], places = builder.finish()
            for encoding in shared[name]:
                index = torch.cat([places[encoding, i] for i in range(len(image_starts))])
                locations[encoding] = Location(name, index)
        return BatchPlan(sequences, locations)

    def _sequence_name(self, encoding: Request, pieces: Mapping[Request, list[Piece]]) -> str:
        """Choose the packed sequence of an encoding; the one with gradient serves a detached view that it contains."""
        if encoding.view.sequential:
            return f"{FEEDBACK}{self.encodings.index(encoding)}"
        if encoding.policy.gradient:
            return GRADIENT
        if encoding.policy.is_current and self.share_detached:
            for other in self.encodings:
                packed = other.policy.gradient and not other.view.sequential
                if packed and all(map(_contains, pieces[other], pieces[encoding])):
                    return GRADIENT
        return encoding.policy.weights

    def _sequences(
        self, name: str, pieces: list[Piece], image_starts: Sequence[Sequence[int]]
    ) -> tuple[list[PackedSequence], Location]:
        """Return the examples of a view that runs token by token, each as a sequence of its own, one after another."""
        sequences, index, end = [], [], 0
        for piece in pieces:
            builder = _Packer(image_starts)
            builder.add_example([piece])
            sequence, places = builder.finish()
            slots = piece.view.slots[: piece.needed].nonzero()[:, 0].tolist()
            front = Layout((slots[0] if slots else piece.needed,))
            sequences.append(replace(sequence, layout=front, indices=kernel_indices(front), fed_back=tuple(slots)))
            own = places[piece.encoding, piece.example]
            index.append(torch.where(own < 0, -1, own + end))
            end += piece.needed
        return sequences, Location(name, torch.cat(index))


def _contains(whole: Piece, part: Piece) -> bool:
    untrimmed = replace(whole, needed=len(whole.identity))
    return shared_prefix(untrimmed, part) >= part.needed


def shared_prefix(one: Piece, other: Piece) -> int:
    """Return how many tokens at the front of two pieces are the same."""
    length = min(one.needed, other.needed)
    same = one.identity[:length] == other.identity[:length]
    same &= ~one.view.slots[:length]
    alike = int(same.int().cumprod(0).sum())
    while (uncut := min(uncut_groups(piece.view.groups, alike) for piece in (one, other))) < alike:
        alike = uncut
    return alike


@final
class _Packer:
    """Collects the views of one packed sequence, then lays them out: shared prefixes first, suffixes after all."""

    def __init__(self, image_starts: Sequence[Sequence[int]]) -> None:
        self.image_starts = image_starts
        self.wholes: list[Piece] = []
        self.starts: list[int] = []
        self.suffixes: list[tuple[int, int, Piece]] = []  # whole, shared tokens, piece
        self.length = 0

    def add_example(self, pieces: list[Piece]) -> None:
        own: list[int] = []
        for piece in sorted(pieces, key=lambda piece: -piece.needed):
            shared, whole = max(((shared_prefix(self.wholes[t], piece), t) for t in own), default=(0, -1))
            if shared >= min(MIN_SHARED, piece.needed):
                self.suffixes.append((whole, shared, piece))
            else:
                own.append(len(self.wholes))
                self.starts.append(self.length)
                self.wholes.append(piece)
                self.length += piece.needed

    def finish(self) -> tuple[PackedSequence, dict[tuple[Request, int], Tensor]]:
        places: dict[tuple[Request, int], Tensor] = {}
        spans = [(piece, 0, start) for piece, start in zip(self.wholes, self.starts, strict=True)]
        suffixes = []
        end = self.length
        for whole, shared, piece in self.suffixes:
            tail = piece.needed - shared
            start = self.starts[whole]
            places[piece.encoding, piece.example] = _place(piece, torch.cat([_range(start, shared), _range(end, tail)]))
            if tail:
                suffixes.append(Suffix(start, shared, tail))
                spans.append((piece, shared, end))
            end += tail
        for piece, start in zip(self.wholes, self.starts, strict=True):
            places[piece.encoding, piece.example] = _place(piece, _range(start, piece.needed))
        layout = Layout(tuple(piece.needed for piece in self.wholes), tuple(suffixes))
        return self._join(spans, layout), places

    def _join(self, spans: list[tuple[Piece, int, int]], layout: Layout) -> PackedSequence:
        """Join what is computed: tokens, positions, and where images, soft tokens and latent tokens go."""
        image_at, image_rows = [], []
        soft_tokens: dict[str, list[SoftTokens]] = {}
        latent: list[Stretch] = []
        for piece, first, start in spans:
            part = slice(first, piece.needed)
            view, encoding = piece.view, piece.encoding
            at = view.image_tokens[part].nonzero()[:, 0]
            image_at.append(at + start)
            first_rows = torch.tensor(self.image_starts[piece.example], dtype=torch.long)
            image_rows.append(first_rows[view.image_index[part][at]] + view.image_rows[part][at])
            here = view.slots[part].nonzero()[:, 0]
            if view.slot_sources is not None:
                latent.append(Stretch(view, part, start, first_rows, fed=encoding.view.feeds_targets))
            if encoding.slots is not None and len(here):
                own = SoftTokens(here + start, torch.arange(len(here)))
                soft_tokens.setdefault(encoding.slots.owner, []).append(own)
        return PackedSequence(
            input_ids=torch.cat([piece.view.input_ids[first : piece.needed] for piece, first, _ in spans]),
            positions=torch.cat([piece.view.positions[:, first : piece.needed] for piece, first, _ in spans], dim=1),
            groups=join_groups([(piece.view.groups, slice(first, piece.needed)) for piece, first, _ in spans]),
            image_at=torch.cat(image_at),
            image_rows=torch.cat(image_rows),
            soft_tokens={owner: join_soft_tokens(own) for owner, own in soft_tokens.items()},
            latent=latent_tokens(latent),
            layout=layout,
            indices=kernel_indices(layout),
        )


def join_soft_tokens(parts: Sequence[SoftTokens]) -> SoftTokens:
    """Return the soft tokens of one owner, one part after another."""
    return SoftTokens(torch.cat([part.at for part in parts]), torch.cat([part.rows for part in parts]))


def _range(start: int, length: int) -> Tensor:
    return torch.arange(start, start + length)


def _place(piece: Piece, computed: Tensor) -> Tensor:
    """Return the place of each of the view's tokens; -1 behind what is needed."""
    return torch.cat([computed, torch.full((len(piece.identity) - piece.needed,), -1)])


# Bidirectional groups ("groups") are tokens that see each other both ways, such as one image's in Gemma 3. A packed
# sequence must hold each of them whole.


def whole_groups(groups: Tensor | None, length: int) -> int:
    """Return how many tokens from the front hold the first ``length`` and all of every block among them."""
    while groups is not None and len(inner := _cut_groups(groups, length)):
        length = int(torch.isin(groups, inner).nonzero()[-1]) + 1
    return length


def uncut_groups(groups: Tensor | None, length: int) -> int:
    """Return how many of the first ``length`` tokens come before every block that reaches beyond them."""
    while groups is not None and len(inner := _cut_groups(groups, length)):
        length = int(torch.isin(groups, inner).nonzero()[0])
    return length


def join_groups(spans: Sequence[tuple[Tensor | None, slice]]) -> Tensor | None:
    """Return the numbers of a sequence's groups, no two views sharing one; None where all is causal."""
    numbered: list[Tensor] = []
    first = 0
    for groups, part in spans:
        if groups is None:
            return None
        numbered.append(torch.where(groups[part] < 0, -1, groups[part] + first))
        first += int(groups.max()) + 1
    return torch.cat(numbered)


def _cut_groups(groups: Tensor, length: int) -> Tensor:
    """Return the numbers of the groups that lie on both sides."""
    before, behind = groups[:length].unique(), groups[length:].unique()
    found: Tensor = before[torch.isin(before, behind) & (before >= 0)]
    return found


@final
@dataclass(frozen=True)
class Stretch:
    """Tokens of a latent view that a packed sequence computes.

    Args:
        view: The view.
        part: Which of its tokens.
        start: Their place in the sequence.
        image_starts: For each image the first row of its features.
        fed: Whether its slots are fed what they stand for.
    """

    view: TokenizedView
    part: slice
    start: int
    image_starts: Tensor
    fed: bool


def latent_tokens(stretches: Sequence[Stretch]) -> LatentTokens:
    """Return the latent tokens of a packed sequence that stand for something, in the order of their places."""
    empty = torch.zeros(0, dtype=torch.long)
    found: dict[str, list[Tensor]] = {"at": [empty], "rows": [empty], "slot": [empty], "fed": [empty]}
    count = 0
    for own in sorted(stretches, key=lambda stretch: stretch.start):
        here = own.view.slots[own.part].nonzero()[:, 0]
        if own.view.slot_sources is None or not len(own.view.slot_sources):
            continue
        before = int(own.view.slots[: own.part.start].sum())
        number, image, row = own.view.slot_sources.unbind(1)
        inside = (number >= before) & (number < before + len(here))
        found["at"].append(here + own.start)
        found["rows"].append(own.image_starts[image[inside]] + row[inside])
        found["slot"].append(number[inside] - before + count)
        found["fed"].append(torch.arange(count, count + len(here)) if own.fed else empty)
        count += len(here)
    return LatentTokens(**{name: torch.cat(parts) for name, parts in found.items()})
