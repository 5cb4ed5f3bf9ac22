"""Attention on the meta device as a GPU would run it: one fused operation, not the products of the math path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@contextmanager
def fused_on_meta() -> Iterator[None]:
    """Inside, ``scaled_dot_product_attention`` of meta tensors is one fused operation, forward and backward.

    torch has no fused kernel for meta tensors and falls back to plain products: a causal mask then costs the whole
    square, and the probabilities are held for the backward pass. Dropout is left out: it is no matrix-like work. Other
    tensors go where they always go.
    """
    stock: Any = F.scaled_dot_product_attention

    def attend(query: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        attended: Tensor = (_fused if query.is_meta else stock)(query, *args, **kwargs)
        return attended

    # Not a TorchFunctionMode: it would be off while a backward pass runs a checkpointed layer again.
    F.scaled_dot_product_attention = attend
    try:
        yield
    finally:
        F.scaled_dot_product_attention = stock


def _fused(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = attn_mask.to(query.dtype)  # as the kernels have it
    out: Tensor = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, 0.0, is_causal, attn_mask=attn_mask, scale=scale
    )[0]
    return out
