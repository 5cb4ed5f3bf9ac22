"""Attention of a vision tower: all chunks of one length (images, frames or windows) in one call.

Registered with transformers by name. transformers calls its SDPA chunk by chunk, so that a batch of images, each of
many windows, takes hundreds of calls in every layer; here it takes as many as there are distinct lengths.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

NAME = "jepa_vlm_flash_chunks"  # transformers hands over all chunks at once only to names that contain "flash"


def chunk_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    cu_seq_lens_q: Tensor,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend within each chunk; transformers' signature. Tensors are (1, heads, tokens, head size).

    Args:
        module, query, key, value, attention_mask, scaling, dropout: As for every attention function; there is no mask.
        cu_seq_lens_q: Where chunks begin, and the number of tokens, (chunks + 1).
        **kwargs: Further ones of transformers, which flash attention needs.
    """
    lengths = [end - start for start, end in pairwise(cu_seq_lens_q.tolist())]
    chunks = [tensor.split(lengths, dim=2) for tensor in (query, key, value)]
    outs: dict[int, Tensor] = {}
    for length in dict.fromkeys(lengths):
        alike = [i for i, own in enumerate(lengths) if own == length]
        q, k, v = (torch.cat([own[i] for i in alike]) for own in chunks)
        out, _ = sdpa_attention_forward(module, q, k, v, None, dropout=dropout, scaling=scaling, is_causal=False)
        outs.update(zip(alike, out.split(1), strict=True))
    return torch.cat([outs[i] for i in range(len(lengths))], dim=1), None


AttentionInterface.register(NAME, chunk_attention)
