"""Attention over a packed row: every segment causal, every branch causal over its shared prefix and itself.

Registered with transformers by name, so that the model's own layers call it. Without a layout (generation, evaluation,
the reference engine) it is transformers' SDPA, so one model serves both.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from jepa_vlm.encoders import masked, varlen
from jepa_vlm.encoders.plan import Layout

NAME = "jepa_vlm_packed"


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
    packed_blocks: Tensor | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend within a row's layout; transformers' signature. Tensors are (1, heads, tokens, head size).

    Args:
        module, query, key, value, attention_mask, scaling, dropout, **kwargs: As for every attention function.
        packed_layout: The row's; None for transformers' own attention.
        packed_indices: See ``kernel_indices``; without them the kernel is not used.
        packed_blocks: Numbers of the blocks whose tokens see each other both ways, (tokens,), or None.
        sliding_window: How many tokens a query of this layer sees, itself included, or None.
    """
    # Where norms train and so are float32, they and the rotary embedding leave queries and keys wider than values.
    query, key = query.to(value.dtype), key.to(value.dtype)
    if packed_layout is None:
        out, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return out, None
    if packed_blocks is not None or masked.narrower(sliding_window, packed_layout):
        out = masked.attend(query, key, value, packed_layout, packed_blocks, sliding_window, scaling, dropout)
    elif packed_indices is not None and varlen.can_run(query, dropout):
        out = by_kernel(query, key, value, packed_layout, packed_indices, scaling)
    else:
        out = by_segment(query, key, value, packed_layout, scaling, dropout)
    return rearrange(out, "row heads tokens size -> row tokens heads size").contiguous(), None


def kernel_indices(layout: Layout) -> dict[str, Any]:
    """Return what ``by_kernel`` reads of a layout on the device; made in the collator."""
    ends = list(accumulate(layout.segments, initial=0))
    seen: list[Tensor] = []
    at = ends[-1]
    for branch in layout.branches:
        seen += [_range(branch.start, branch.prefix), _range(at, branch.length)]
        at += branch.length
    return {
        "segments": varlen.packed(layout.segments),
        "branches": varlen.packed([branch.length for branch in layout.branches]),
        "seen": varlen.packed([branch.prefix + branch.length for branch in layout.branches]),
        "seen_at": torch.cat(seen) if seen else _range(0, 0),
    }


def by_kernel(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, indices: Mapping[str, Any], scaling: float | None
) -> Tensor:
    """Attend in two calls: all segments at once, then all branches, whose keys are gathered."""
    tokens, own = sum(layout.segments), indices["segments"]
    front, tails = query.split([tokens, query.shape[2] - tokens], dim=2)
    out = varlen.attend(front, key[:, :, :tokens], value[:, :, :tokens], own, own, scale=scaling, causal=True)
    if not layout.branches:
        return out
    keys, values = (tensor.index_select(2, indices["seen_at"]) for tensor in (key, value))
    behind = varlen.attend(tails, keys, values, indices["branches"], indices["seen"], scale=scaling, causal=True)
    return torch.cat([out, behind], dim=2)


def by_segment(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, scaling: float | None, dropout: float
) -> Tensor:
    """Attend in one SDPA call for each segment and each branch: any device, any type."""
    options: dict[str, Any] = {"scale": scaling, "dropout_p": dropout, "enable_gqa": query.shape[1] != key.shape[1]}
    sizes = [*layout.segments, *(branch.length for branch in layout.branches)]
    queries, keys, values = (t.split(sizes, dim=2) for t in (query, key, value))
    causal = len(layout.segments)
    trunks = {start: i for i, start in enumerate(accumulate(layout.segments, initial=0))}
    outs = [
        F.scaled_dot_product_attention(q, k, v, is_causal=True, **options)
        for q, k, v in zip(queries[:causal], keys[:causal], values[:causal], strict=True)
    ]
    for branch, q, k, v in zip(layout.branches, queries[causal:], keys[causal:], values[causal:], strict=True):
        trunk, prefix = trunks[branch.start], slice(branch.prefix)
        seen = torch.ones(branch.length, branch.prefix + branch.length, dtype=torch.bool, device=q.device)
        outs.append(
            F.scaled_dot_product_attention(
                q,
                torch.cat([keys[trunk][:, :, prefix], k], dim=2),
                torch.cat([values[trunk][:, :, prefix], v], dim=2),
                attn_mask=seen.tril(branch.prefix),
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
    for branch in layout.branches:
        own = slice(at, at + branch.length)
        mask[own, branch.start : branch.start + branch.prefix] = True
        mask[own, own] = torch.ones(branch.length, branch.length, dtype=torch.bool).tril()
        at += branch.length
    return mask


def _range(start: int, length: int) -> Tensor:
    return torch.arange(start, start + length)


AttentionInterface.register(NAME, packed_attention)
# Without a mask function of this name, a padded batch would silently get no mask.
AttentionMaskInterface.register(NAME, sdpa_mask)
