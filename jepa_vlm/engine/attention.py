"""Attention over a packed sequence: every segment causal, every suffix causal over its shared prefix and itself.

Registered with transformers by name, so that the model's own layers call it. Without a layout (generation, evaluation,
the reference engine) it is transformers' SDPA, so one model serves both.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from jepa_vlm.engine.batch import Layout

NAME = "jepa_vlm_packed"
FULL, CAUSAL = (-1, -1), (-1, 0)  # how far a query sees to its left and right; -1 is without end
_GROUPED = "enable_gqa" in inspect.signature(varlen_attn).parameters  # from torch 2.12 on


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    packed_layout: Layout | None = None,
    packed_indices: Mapping[str, Any] | None = None,
    packed_groups: Tensor | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend within a packed sequence's layout; transformers' signature. Tensors are (1, heads, tokens, head size).

    Args:
        module, query, key, value, attention_mask, scaling, dropout, **kwargs: As for every attention function.
        packed_layout: The packed sequence's; None for transformers' own attention.
        packed_indices: See ``kernel_indices``; without them the kernel is not used.
        packed_groups: Numbers of the groups whose tokens see each other both ways, (tokens,), or None.
        sliding_window: How many tokens a query of this layer sees, itself included, or None.
    """
    # Where norms train and so are float32, they and the rotary embedding leave queries and keys wider than values.
    query, key = query.to(value.dtype), key.to(value.dtype)
    if packed_layout is None:
        out, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return out, None
    if packed_groups is not None or narrower(sliding_window, packed_layout):
        out = attend_masked(query, key, value, packed_layout, packed_groups, sliding_window, scaling, dropout)
    elif packed_indices is not None and kernel_runs(query, dropout):
        out = by_kernel(query, key, value, packed_layout, packed_indices, scaling)
    else:
        out = by_segment(query, key, value, packed_layout, scaling, dropout)
    return rearrange(out, "row heads tokens size -> row tokens heads size").contiguous(), None


def kernel_indices(layout: Layout) -> dict[str, Any]:
    """Return what ``by_kernel`` reads of a layout on the device; made in the collator."""
    ends = list(accumulate(layout.segments, initial=0))
    seen: list[Tensor] = []
    at = ends[-1]
    for suffix in layout.suffixes:
        seen += [_range(suffix.start, suffix.prefix), _range(at, suffix.length)]
        at += suffix.length
    return {
        "segments": packed(layout.segments),
        "suffixes": packed([suffix.length for suffix in layout.suffixes]),
        "seen": packed([suffix.prefix + suffix.length for suffix in layout.suffixes]),
        "seen_at": torch.cat(seen) if seen else _range(0, 0),
    }


def by_kernel(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, indices: Mapping[str, Any], scaling: float | None
) -> Tensor:
    """Attend in two calls: all segments at once, then all suffixes, whose keys are gathered."""
    tokens, own = sum(layout.segments), indices["segments"]
    front, tails = query.split([tokens, query.shape[2] - tokens], dim=2)
    out = attend_by_kernel(front, key[:, :, :tokens], value[:, :, :tokens], own, own, scale=scaling, causal=True)
    if not layout.suffixes:
        return out
    keys, values = (tensor.index_select(2, indices["seen_at"]) for tensor in (key, value))
    behind = attend_by_kernel(tails, keys, values, indices["suffixes"], indices["seen"], scale=scaling, causal=True)
    return torch.cat([out, behind], dim=2)


def by_segment(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, scaling: float | None, dropout: float
) -> Tensor:
    """Attend in one SDPA call for each segment and each suffix: any device, any type."""
    options: dict[str, Any] = {"scale": scaling, "dropout_p": dropout, "enable_gqa": query.shape[1] != key.shape[1]}
    sizes = [*layout.segments, *(suffix.length for suffix in layout.suffixes)]
    queries, keys, values = (t.split(sizes, dim=2) for t in (query, key, value))
    causal = len(layout.segments)
    wholes = {start: i for i, start in enumerate(accumulate(layout.segments, initial=0))}
    outs = [
        F.scaled_dot_product_attention(q, k, v, is_causal=True, **options)
        for q, k, v in zip(queries[:causal], keys[:causal], values[:causal], strict=True)
    ]
    for suffix, q, k, v in zip(layout.suffixes, queries[causal:], keys[causal:], values[causal:], strict=True):
        whole_piece, prefix = wholes[suffix.start], slice(suffix.prefix)
        seen = torch.ones(suffix.length, suffix.prefix + suffix.length, dtype=torch.bool, device=q.device)
        outs.append(
            F.scaled_dot_product_attention(
                q,
                torch.cat([keys[whole_piece][:, :, prefix], k], dim=2),
                torch.cat([values[whole_piece][:, :, prefix], v], dim=2),
                attn_mask=seen.tril(suffix.prefix),
                **options,
            )
        )
    return torch.cat(outs, dim=2)


def dense_mask(layout: Layout) -> Tensor:
    """Return who sees whom as a boolean matrix, (tokens, tokens): the slow, obvious reference."""
    total, at = len(layout), 0
    mask = torch.zeros(total, total, dtype=torch.bool)
    for length in layout.segments:
        mask[at : at + length, at : at + length] = torch.ones(length, length, dtype=torch.bool).tril()
        at += length
    for suffix in layout.suffixes:
        own = slice(at, at + suffix.length)
        mask[own, suffix.start : suffix.start + suffix.prefix] = True
        mask[own, own] = torch.ones(suffix.length, suffix.length, dtype=torch.bool).tril()
        at += suffix.length
    return mask


def _range(start: int, length: int) -> Tensor:
    return torch.arange(start, start + length)


# Layers that have more to say than "causal": bidirectional groups and sliding windows. One SDPA call with a mask for
# each segment and each suffix; sequences of purely causal families never come here.


def narrower(window: int | None, layout: Layout) -> bool:
    """Say whether a window hides anything in this layout."""
    longest = max([*layout.segments, *(suffix.prefix + suffix.length for suffix in layout.suffixes)])
    return window is not None and window < longest


def attend_masked(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Layout,
    groups: Tensor | None,
    window: int | None,
    scaling: float | None,
    dropout: float,
) -> Tensor:
    """Return (1, heads, tokens, head size), as ``packed_attention``'s other ways do.

    Args:
        query, key, value: (1, heads, tokens, head size).
        layout: The packed sequence's.
        groups: Numbers of groups, (tokens,), -1 for none.
        window: Tokens that a query sees, itself included.
        scaling, dropout: As for every attention function.
    """
    places = torch.arange(len(layout), device=query.device)
    outs = []
    for own, prefix in _pieces(layout):
        seen = torch.cat([places[prefix], places[own]])
        mask = visible(len(places[own]), len(seen), groups[seen] if groups is not None else None, window, query.device)
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


def visible(queries: int, keys: int, groups: Tensor | None, window: int | None, device: torch.device) -> Tensor:
    """Return which of ``keys`` tokens the last ``queries`` of them see, (queries, keys).

    As in transformers: causal, or of one block; and within the window, which counts backwards only.
    """
    at = torch.arange(keys, device=device)
    asking = at[keys - queries :, None]
    mask = at <= asking
    if groups is not None:
        mask = mask | ((groups == groups[keys - queries :, None]) & (groups >= 0))
    return mask if window is None else mask & (at > asking - window)


def _pieces(layout: Layout) -> list[tuple[slice, slice]]:
    """Return each segment's and suffix's own tokens, and the prefix that it sees."""
    ends = list(accumulate(layout.segments, initial=0))
    pieces = [(slice(start, end), slice(0)) for start, end in pairwise(ends)]
    at = ends[-1]
    for suffix in layout.suffixes:
        pieces.append((slice(at, at + suffix.length), slice(suffix.start, suffix.start + suffix.prefix)))
        at += suffix.length
    return pieces


# torch's variable-length kernel: one call serves any number of sequences, packed one after another; lengths are read on
# the device, so nothing waits.


def kernel_runs(query: Tensor, dropout: float) -> bool:
    """Say whether the kernel takes these queries: half precision on an NVIDIA GPU from Ampere on, without dropout."""
    return (
        query.is_cuda
        and torch.version.cuda is not None
        and query.dtype in (torch.float16, torch.bfloat16)
        and query.shape[-1] % 8 == 0
        and query.shape[-1] <= 256
        and dropout == 0
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
    )


def packed(lengths: Sequence[int]) -> dict[str, Any]:
    """Return what the kernel must know of sequences: ``ends``, from 0, for the device; ``longest`` for the host."""
    ends = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
    return {"ends": ends, "longest": max(lengths, default=0)}


def attend_by_kernel(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    queries: Mapping[str, Any],
    keys: Mapping[str, Any],
    *,
    scale: float | None,
    causal: bool,
) -> Tensor:
    """Attend within each sequence; tensors are (1, heads, tokens, head size), and so is the result.

    Args:
        query, key, value: Packed. There may be fewer heads of keys than of queries.
        queries, keys: See ``packed``; the same number of sequences.
        scale: Of the scores.
        causal: The last query of a sequence sees all its keys, each query before it one less.
    """
    q, k, v = (rearrange(t, "1 heads tokens size -> tokens heads size") for t in (query, key, value))
    options: dict[str, Any] = {"scale": scale, "window_size": CAUSAL if causal else FULL}
    if (group := q.shape[1] // k.shape[1]) > 1:
        if _GROUPED:
            options["enable_gqa"] = True
        else:
            k, v = (repeat(t, "tokens heads size -> tokens (heads group) size", group=group) for t in (k, v))
    out: Any = varlen_attn(q, k, v, queries["ends"], keys["ends"], queries["longest"], keys["longest"], **options)
    attended: Tensor = rearrange(out, "tokens heads size -> 1 heads tokens size")
    return attended


AttentionInterface.register(NAME, packed_attention)
# Without a mask function of this name, a padded batch would silently get no mask.
AttentionMaskInterface.register(NAME, sdpa_mask)
