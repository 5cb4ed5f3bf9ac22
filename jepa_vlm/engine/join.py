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
from jepa_vlm.engine.planner import join_blocks, join_soft_tokens


@final
@dataclass(frozen=True)
class Move:
    """Where the tokens of a row went when it was joined with others.

    Args:
        front: How many of them are in its segments; the others are in its branches.
        segments: How far those of the segments moved.
        branches: How far the others did.
    """

    front: int
    segments: int
    branches: int

    def __call__(self, places: Tensor) -> Tensor:
        """Return the places in the joined row of places in the row."""
        return places + torch.where(places < self.front, self.segments, self.branches)


def join(rows: Sequence[PackedSequence], features: Sequence[int]) -> tuple[PackedSequence, list[Move]]:
    """Return one row with the segments of all, one after another, then the branches of all; and where tokens went.

    Args:
        rows: Of an ``OnePassPlanner``.
        features: How many rows of features each one's images have; they follow one another too.
    """
    layouts = [row.layout for row in rows]
    moves = _moves(layouts)
    layout = Layout(
        tuple(length for each in layouts for length in each.segments),
        tuple(
            replace(branch, start=branch.start + move.segments)
            for each, move in zip(layouts, moves, strict=True)
            for branch in each.branches
        ),
    )
    starts = accumulate(features[:-1], initial=0)
    soft_tokens: dict[str, list[SoftTokens]] = {}
    for row, move in zip(rows, moves, strict=True):
        for owner, place in row.soft_tokens.items():
            soft_tokens.setdefault(owner, []).append(SoftTokens(move(place.at), place.rows))
    image_at = torch.cat([move(row.image_at) for row, move in zip(rows, moves, strict=True)])
    image_rows = torch.cat([row.image_rows + start for row, start in zip(rows, starts, strict=True)])
    in_order = image_at.argsort()  # a decoder may be handed an image's further features by their order alone
    joined = join_blocks([(row.blocks, slice(None)) for row in rows])
    if joined is not None:
        joined = _interleave(joined.split([len(row) for row in rows]), moves)
    return PackedSequence(
        input_ids=_interleave([row.input_ids for row in rows], moves),
        positions=_interleave([row.positions for row in rows], moves),
        blocks=joined,
        image_at=image_at[in_order],
        image_rows=image_rows[in_order],
        soft_tokens={owner: join_soft_tokens(own) for owner, own in soft_tokens.items()},
        latent=rows[0].latent,  # views with latent tokens have gradient, so that these rows have none
        layout=layout,
        indices=send_to_device(kernel_indices(layout), rows[0].input_ids.device, non_blocking=True),
    ), moves


def _moves(layouts: Sequence[Layout]) -> list[Move]:
    fronts = [sum(layout.segments) for layout in layouts]
    rests = [len(layout) - front for layout, front in zip(layouts, fronts, strict=True)]
    segments, branches = accumulate(fronts[:-1], initial=0), accumulate(rests[:-1], initial=sum(fronts))
    return [Move(front, at, then - front) for front, at, then in zip(fronts, segments, branches, strict=True)]


def _interleave(rows: Sequence[Tensor], moves: Sequence[Move]) -> Tensor:
    fronts = [row[..., : move.front] for row, move in zip(rows, moves, strict=True)]
    rests = [row[..., move.front :] for row, move in zip(rows, moves, strict=True)]
    return torch.cat([*fronts, *rests], dim=-1)
