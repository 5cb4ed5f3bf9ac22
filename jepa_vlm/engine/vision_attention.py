"""Attention of a vision tower: all chunks (images, frames or windows) in one call, or in one call for each length.

Registered with transformers by name. transformers calls its SDPA chunk by chunk, so that a batch of images, each of
many windows, takes hundreds of calls in every layer; here it takes one where torch's variable-length kernel runs, and
else as many as there are distinct lengths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from jepa_vlm.engine import attention

NAME = "jepa_vlm_flash_chunks"  # transformers hands over all chunks at once only to names that contain "flash"


def chunk_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    cu_seq_lens_q: Tensor,
    max_length_q: int | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    chunk_lengths: Mapping[int, Sequence[int]] | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend within each chunk; transformers' signature. Tensors are (1, heads, tokens, head size).

    Args:
        module, query, key, value, attention_mask, scaling, dropout: As for every attention function; there is no mask.
        cu_seq_lens_q: Where chunks begin, and the number of tokens, (chunks + 1).
        max_length_q: The longest chunk.
        chunk_lengths: The chunks' lengths on the host, by their number: a tower that attends to frames in some layers
            and to windows of them in others has two such lists, equal if they are equally long. Without them,
            ``cu_seq_lens_q`` is read off the device.
        **kwargs: Further ones of transformers, which flash attention needs.
    """
    if max_length_q is not None and attention.kernel_runs(query, dropout):
        chunks = {"ends": cu_seq_lens_q, "longest": max_length_q}
        out = attention.attend_by_kernel(query, key, value, chunks, chunks, scale=scaling, causal=False)
        return rearrange(out, "row heads tokens size -> row tokens heads size").contiguous(), None
    if chunk_lengths is None:
        lengths = [end - start for start, end in pairwise(cu_seq_lens_q.tolist())]
    else:
        lengths = list(chunk_lengths[len(cu_seq_lens_q) - 1])
    return by_length(module, query, key, value, lengths, scaling=scaling, dropout=dropout), None


def by_length(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    lengths: Sequence[int],
    *,
    scaling: float | None,
    dropout: float,
) -> Tensor:
    """Attend in one SDPA call for all chunks of one length; return (1, tokens, heads, head size)."""
    pieces = [tensor.split(list(lengths), dim=2) for tensor in (query, key, value)]
    outs: dict[int, Tensor] = {}
    for length in dict.fromkeys(lengths):
        alike = [i for i, own in enumerate(lengths) if own == length]
        q, k, v = (torch.cat([own[i] for i in alike]) for own in pieces)
        out, _ = sdpa_attention_forward(module, q, k, v, None, dropout=dropout, scaling=scaling, is_causal=False)
        outs.update(zip(alike, out.split(1), strict=True))
    return torch.cat([outs[i] for i in range(len(lengths))], dim=1)


AttentionInterface.register(NAME, chunk_attention)
