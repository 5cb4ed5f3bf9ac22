"""Derives from the requested views the cheapest exact rows. Nobody sets a flag: what is shared follows from the tokens.

- Views with gradient go into one row. A view that shares a prefix of tokens with another one computes only what
differs, as a
  branch: causal attention never looks ahead, so the prefix's states are the same.
- Views read only detached go into forward-only rows, one for each set of weights. If the row with gradient computes
such a view anyway,
  its states are read from there.
- Views whose latent slots are fed the state before them cannot be packed: each is a sequence of its own.
- What nobody reads at the end of a view is not computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from jepa_vlm.encoders import blocks
from jepa_vlm.encoders.attention import kernel_indices
from jepa_vlm.encoders.latent_slots import Stretch, slot_tensors
from jepa_vlm.serialization import TokenizedView
from jepa_vlm.views import BatchPlan, Branch, Encoding, LatentConversation, Layout, Location

MIN_SHARED = 8  # tokens: below it, an attention call of its own costs more than the recomputation
GRADIENT, FEEDBACK = "gradient", "feedback:"  # names of rows; the second goes on with the encoding's number


@final
@dataclass(frozen=True)
class Piece:
    """A view's share of a row: what it computes itself, and what it shares.

    Args:
        encoding: Index of the encoding.
        example: Which example.
        view: Its tokens.
        needed: How many of them, from the front, are read or precede something that is read.
    """

    encoding: int
    example: int
    view: TokenizedView
    needed: int


@final
class OnePassPlanner:
    """Packs the views of a batch into the fewest exact passes.

    Args:
        encodings: What the objective needs.
        share_detached: Whether detached views may be read from the row with gradient; false where that row runs with
            dropout, which targets must not.
    """

    images_together = True

    def __init__(self, *, encodings: Sequence[Encoding], share_detached: bool = True) -> None:
        self.encodings, self.share_detached = tuple(encodings), share_detached

    def __call__(
        self,
        views: Sequence[Sequence[TokenizedView]],
        needed: Sequence[Sequence[int]],
        image_starts: Sequence[Sequence[int]],
    ) -> BatchPlan:
        """Plan a batch.

        Args:
            views: By example, then by encoding.
            needed: Likewise: how many tokens of the view, from the front, must be computed.
            image_starts: By example, then by image: first row of its features among the batch's.
        """
        given = list(zip(views, needed, strict=True))
        pieces = [
            [Piece(e, i, own[e], blocks.whole(own[e].blocks, n[e])) for i, (own, n) in enumerate(given)]
            for e in range(len(self.encodings))
        ]
        groups: dict[str, list[int]] = {}
        for e in range(len(self.encodings)):
            groups.setdefault(self._row_name(e, pieces), []).append(e)
        rows: dict[str, dict[str, Any]] = {}
        locations: list[Location | None] = [None] * len(self.encodings)
        for name in sorted(groups, key=lambda name: name == GRADIENT):
            if name.startswith(FEEDBACK):
                (e,) = groups[name]
                rows[name], locations[e] = self._sequences(name, pieces[e], image_starts)
                continue
            builder = _RowBuilder(self.encodings, image_starts)
            for i in range(len(views)):
                builder.add_example([pieces[e][i] for e in groups[name]])
            rows[name], places = builder.finish()
            for e in groups[name]:
                index = torch.cat([places[e, i] for i in range(len(views))])
                locations[e] = Location(name, index)
        return BatchPlan(rows, tuple(location for location in locations if location is not None))

    def _row_name(self, number: int, pieces: list[list[Piece]]) -> str:
        """Choose the row of an encoding; the row with gradient serves a detached view that one of its own contains."""
        encoding = self.encodings[number]
        if _fed_back(encoding):
            return f"{FEEDBACK}{number}"
        if encoding.policy.gradient:
            return GRADIENT
        if encoding.policy.weights != "current":
            return encoding.policy.weights
        if self.share_detached:
            for e, other in enumerate(self.encodings):
                packed = other.policy.gradient and not _fed_back(other)
                if packed and all(map(_contains, pieces[e], pieces[number])):
                    return GRADIENT
        return "current"

    def _sequences(
        self, name: str, pieces: list[Piece], image_starts: Sequence[Sequence[int]]
    ) -> tuple[dict[str, Any], Location]:
        """Return the examples of a view that runs slot by slot, each as a row of its own, one after another."""
        rows, index, end = [], [], 0
        for piece in pieces:
            builder = _RowBuilder(self.encodings, image_starts)
            builder.add_example([piece])
            row, places = builder.finish()
            slots = piece.view.slots[: piece.needed].nonzero()[:, 0].tolist()
            front = Layout((slots[0] if slots else piece.needed,))
            rows.append({**row, **front.numbers(), "indices": kernel_indices(front), "fed_back": tuple(slots)})
            own = places[piece.encoding, piece.example]
            index.append(torch.where(own < 0, -1, own + end))
            end += piece.needed
        return {"sequences": rows}, Location(name, torch.cat(index))


def _fed_back(encoding: Encoding) -> bool:
    return isinstance(encoding.view, LatentConversation) and encoding.view.fed == "state"


def _contains(whole: Piece, part: Piece) -> bool:
    untrimmed = replace(whole, needed=len(whole.view))
    return shared_prefix(untrimmed, part) >= part.needed


def shared_prefix(one: Piece, other: Piece) -> int:
    """Return how many tokens at the front of two pieces are the same."""
    length = min(one.needed, other.needed)
    same = one.view.identity()[:length] == other.view.identity()[:length]
    same &= ~one.view.slots[:length]
    alike = int(same.int().cumprod(0).sum())
    while (uncut := min(blocks.uncut(piece.view.blocks, alike) for piece in (one, other))) < alike:
        alike = uncut
    return alike


@final
class _RowBuilder:
    """Collects trunks and branches of one row, then lays them out: trunks first, branches after all trunks."""

    def __init__(self, encodings: Sequence[Encoding], image_starts: Sequence[Sequence[int]]) -> None:
        self.encodings, self.image_starts = encodings, image_starts
        self.trunks: list[Piece] = []
        self.starts: list[int] = []
        self.branches: list[tuple[int, int, Piece]] = []  # trunk, shared tokens, piece
        self.length = 0

    def add_example(self, pieces: list[Piece]) -> None:
        own: list[int] = []
        for piece in sorted(pieces, key=lambda piece: -piece.needed):
            shared, trunk = max(((shared_prefix(self.trunks[t], piece), t) for t in own), default=(0, -1))
            if shared >= min(MIN_SHARED, piece.needed):
                self.branches.append((trunk, shared, piece))
            else:
                own.append(len(self.trunks))
                self.starts.append(self.length)
                self.trunks.append(piece)
                self.length += piece.needed

    def finish(self) -> tuple[dict[str, Any], dict[tuple[int, int], Tensor]]:
        places: dict[tuple[int, int], Tensor] = {}
        spans = [(piece, 0, start) for piece, start in zip(self.trunks, self.starts, strict=True)]
        branches = []
        end = self.length
        for trunk, shared, piece in self.branches:
            tail = piece.needed - shared
            start = self.starts[trunk]
            places[piece.encoding, piece.example] = _place(piece, torch.cat([_range(start, shared), _range(end, tail)]))
            if tail:
                branches.append(Branch(start, shared, tail))
                spans.append((piece, shared, end))
            end += tail
        for piece, start in zip(self.trunks, self.starts, strict=True):
            places[piece.encoding, piece.example] = _place(piece, _range(start, piece.needed))
        layout = Layout(tuple(piece.needed for piece in self.trunks), tuple(branches))
        return {**self._tensors(spans), **layout.numbers(), "indices": kernel_indices(layout)}, places

    def _tensors(self, spans: list[tuple[Piece, int, int]]) -> dict[str, Any]:
        """Join what is computed: tokens, positions, and where images and slots go."""
        ids, positions, image_at, image_rows = [], [], [], []
        slots: dict[str, dict[str, list[Tensor]]] = {}
        latent: list[Stretch] = []
        for piece, first, start in spans:
            part = slice(first, piece.needed)
            view = piece.view
            ids.append(view.input_ids[part])
            positions.append(view.positions[:, part])
            at = view.image_tokens[part].nonzero()[:, 0]
            image_at.append(at + start)
            first_rows = torch.tensor(self.image_starts[piece.example], dtype=torch.long)
            image_rows.append(first_rows[view.image_index[part][at]] + view.image_rows[part][at])
            here = view.slots[part].nonzero()[:, 0]
            shown = self.encodings[piece.encoding].view
            if isinstance(shown, LatentConversation):
                latent.append(Stretch(view, part, start, first_rows, fed=shown.fed == "target"))
            owner = self.encodings[piece.encoding].slots
            if owner is not None and len(here):
                found = slots.setdefault(owner.owner, {"at": [], "rows": []})
                found["at"].append(here + start)
                found["rows"].append(torch.arange(len(here)))
        return {
            "input_ids": torch.cat(ids),
            "positions": torch.cat(positions, dim=1),
            "blocks": blocks.joined([(piece.view.blocks, slice(first, piece.needed)) for piece, first, _ in spans]),
            "image_at": torch.cat(image_at),
            "image_rows": torch.cat(image_rows),
            "slots": {o: {key: torch.cat(part) for key, part in found.items()} for o, found in slots.items()},
            "latent": slot_tensors(latent),
        }


def _range(start: int, length: int) -> Tensor:
    return torch.arange(start, start + length)


def _place(piece: Piece, computed: Tensor) -> Tensor:
    """Return the place of each of the view's tokens; -1 behind what is needed."""
    return torch.cat([computed, torch.full((len(piece.view) - piece.needed,), -1)])
