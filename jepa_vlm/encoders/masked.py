"""Attention over a packed row whose layers have more to say than "causal": blocks, sliding windows.

One SDPA call with a mask for each segment and each branch. Exact and plain; rows of the purely causal families never
come here.
"""

from __future__ import annotations

from itertools import accumulate, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from jepa_vlm.encoders.plan import Layout


def narrower(window: int | None, layout: Layout) -> bool:
    """Say whether a window hides anything in this layout."""
    longest = max([*layout.segments, *(branch.prefix + branch.length for branch in layout.branches)])
    return window is not None and window < longest


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Layout,
    blocks: Tensor | None,
    window: int | None,
    scaling: float | None,
    dropout: float,
) -> Tensor:
    """Return (1, heads, tokens, head size), as ``packed_attention``'s other ways do.

    Args:
        query, key, value: (1, heads, tokens, head size).
        layout: The row's.
        blocks: Numbers of blocks, (tokens,), -1 for none.
        window: Tokens that a query sees, itself included.
        scaling, dropout: As for every attention function.
    """
    places = torch.arange(len(layout), device=query.device)
    outs = []
    for own, prefix in _pieces(layout):
        seen = torch.cat([places[prefix], places[own]])
        mask = visible(len(places[own]), len(seen), blocks[seen] if blocks is not None else None, window, query.device)
        outs.append(
            F.scaled_dot_product_attention(
                query[:, :, own],
                key[:, :, seen],
                value[:, :, seen],
                attn_mask=mask,
                scale=scaling,
                dropout_p=dropout,
                enable_gqa=query.shape[1] != key.shape[1],
            )
        )
    return torch.cat(outs, dim=2)


def visible(queries: int, keys: int, blocks: Tensor | None, window: int | None, device: torch.device) -> Tensor:
    """Return which of ``keys`` tokens the last ``queries`` of them see, (queries, keys).

    As in transformers: causal, or of one block; and within the window, which counts backwards only.
    """
    at = torch.arange(keys, device=device)
    asking = at[keys - queries :, None]
    mask = at <= asking
    if blocks is not None:
        mask = mask | ((blocks == blocks[keys - queries :, None]) & (blocks >= 0))
    return mask if window is None else mask & (at > asking - window)


def _pieces(layout: Layout) -> list[tuple[slice, slice]]:
    """Return each segment's and branch's own tokens, and the prefix that it sees."""
    ends = list(accumulate(layout.segments, initial=0))
    pieces = [(slice(start, end), slice(0)) for start, end in pairwise(ends)]
    at = ends[-1]
    for branch in layout.branches:
        pieces.append((slice(at, at + branch.length), slice(branch.start, branch.start + branch.prefix)))
        at += branch.length
    return pieces
