"""Attention over a packed row: every segment causal, every branch causal over its shared prefix and itself.

Registered with transformers by name, so that the model's own layers call it. Without a layout (generation, evaluation,
the reference engine) it is transformers' SDPA, so one model serves both.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from jepa_vlm.views import Layout

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
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend within a row's layout; transformers' signature. Tensors are (1, heads, tokens, head size)."""
    if packed_layout is None:
        out, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return out, None
    options: dict[str, Any] = {"scale": scaling, "dropout_p": dropout, "enable_gqa": query.shape[1] != key.shape[1]}
    sizes = [*packed_layout.segments, *(branch.length for branch in packed_layout.branches)]
    queries, keys, values = (t.split(sizes, dim=2) for t in (query, key, value))
    causal = len(packed_layout.segments)
    outs = [
        F.scaled_dot_product_attention(q, k, v, is_causal=True, **options)
        for q, k, v in zip(queries[:causal], keys[:causal], values[:causal], strict=True)
    ]
    for branch, q, k, v in zip(packed_layout.branches, queries[causal:], keys[causal:], values[causal:], strict=True):
        prefix = slice(branch.start, branch.start + branch.prefix)
        seen = torch.ones(branch.length, branch.prefix + branch.length, dtype=torch.bool, device=q.device)
        outs.append(
            F.scaled_dot_product_attention(
                q,
                torch.cat([key[:, :, prefix], k], dim=2),
                torch.cat([value[:, :, prefix], v], dim=2),
                attn_mask=seen.tril(branch.prefix),
                **options,
            )
        )
    return rearrange(torch.cat(outs, dim=2), "row heads tokens size -> row tokens heads size").contiguous(), None


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


AttentionInterface.register(NAME, packed_attention)
# Without a mask function of this name, a padded batch would silently get no mask.
AttentionMaskInterface.register(NAME, sdpa_mask)
