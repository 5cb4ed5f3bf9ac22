"""Joins the packed sequences of several micro-batches into one, and says where each token went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import final

import torch
from accelerate.utils import send_to_device
from torch import Tensor

from jepa_vlm.engine.attention import kernel_indices
from jepa_vlm.engine.batch import Layout, PackedSequence, SoftTokens
from jepa_vlm.engine.planner import join_groups, join_soft_tokens


@final
@dataclass(frozen=True)
class Move:
    """Where the tokens of a packed sequence went when it was joined with others.

    Args:
        front: How many of them are in its segments; the others are in its suffixes.
        segments: How far those of the segments moved.
        suffixes: How far the others did.
    """

    front: int
    segments: int
    suffixes: int

    def __call__(self, places: Tensor) -> Tensor:
        """Return the places in the joined sequence of places in the single one."""
        return places + torch.where(places < self.front, self.segments, self.suffixes)


def join(sequences: Sequence[PackedSequence], features: Sequence[int]) -> tuple[PackedSequence, list[Move]]:
    """Return one packed sequence of several, and where tokens went: the segments of all, then the suffixes of all.

    Args:
        sequences: Of an ``OnePassPlanner``.
        features: How many rows of features each one's images have; they follow one another too.
    """
    layouts = [sequence.layout for sequence in sequences]
    moves = _moves(layouts)
    layout = Layout(
        tuple(length for each in layouts for length in each.segments),
        tuple(
            replace(suffix, start=suffix.start + move.segments)
            for each, move in zip(layouts, moves, strict=True)
            for suffix in each.suffixes
        ),
    )
    starts = accumulate(features[:-1], initial=0)
    soft_tokens: dict[str, list[SoftTokens]] = {}
    for sequence, move in zip(sequences, moves, strict=True):
        for owner, place in sequence.soft_tokens.items():
            soft_tokens.setdefault(owner, []).append(SoftTokens(move(place.at), place.rows))
    image_at = torch.cat([move(sequence.image_at) for sequence, move in zip(sequences, moves, strict=True)])
    image_rows = torch.cat([sequence.image_rows + start for sequence, start in zip(sequences, starts, strict=True)])
    in_order = image_at.argsort()  # a decoder may be handed an image's further features by their order alone
    joined = join_groups([(sequence.groups, slice(None)) for sequence in sequences])
    if joined is not None:
        joined = _interleave(joined.split([len(sequence) for sequence in sequences]), moves)
    return PackedSequence(
        input_ids=_interleave([sequence.input_ids for sequence in sequences], moves),
        positions=_interleave([sequence.positions for sequence in sequences], moves),
        groups=joined,
        image_at=image_at[in_order],
        image_rows=image_rows[in_order],
        soft_tokens={owner: join_soft_tokens(own) for owner, own in soft_tokens.items()},
        latent=sequences[0].latent,  # views with latent tokens have gradient, so these have none
        layout=layout,
        indices=send_to_device(kernel_indices(layout), sequences[0].input_ids.device, non_blocking=True),
    ), moves


def _moves(layouts: Sequence[Layout]) -> list[Move]:
    fronts = [sum(layout.segments) for layout in layouts]
    rests = [len(layout) - front for layout, front in zip(layouts, fronts, strict=True)]
    segments, suffixes = accumulate(fronts[:-1], initial=0), accumulate(rests[:-1], initial=sum(fronts))
    return [Move(front, at, then - front) for front, at, then in zip(fronts, segments, suffixes, strict=True)]


def _interleave(sequences: Sequence[Tensor], moves: Sequence[Move]) -> Tensor:
    fronts = [sequence[..., : move.front] for sequence, move in zip(sequences, moves, strict=True)]
    rests = [sequence[..., move.front :] for sequence, move in zip(sequences, moves, strict=True)]
    return torch.cat([*fronts, *rests], dim=-1)
