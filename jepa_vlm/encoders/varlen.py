"""torch's variable-length attention kernel: when it can run, and how it is called.

One call serves any number of sequences, packed one after another; lengths are read on the device, so nothing waits.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn

FULL, CAUSAL = (-1, -1), (-1, 0)  # how far a query sees to its left and right; -1 is without end
_GROUPED = "enable_gqa" in inspect.signature(varlen_attn).parameters  # from torch 2.12 on


def can_run(query: Tensor, dropout: float) -> bool:
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


def attend(
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
