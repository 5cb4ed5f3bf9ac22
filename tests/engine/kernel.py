"""A stand-in for torch's variable-length kernel that runs anywhere: its arguments, checked, and the obvious sum."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn

SIGNATURE = inspect.signature(varlen_attn)


class Kernel:
    """Callable like ``varlen_attn``; ``calls`` lists (sequences, causal) of each call."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, bool]] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        given = SIGNATURE.bind(*args, **kwargs)
        given.apply_defaults()
        return self._run(**{name: given.arguments[name] for name in ARGUMENTS}, grouped="enable_gqa" in kwargs)

    def _run(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        cu_seq_q: Tensor,
        cu_seq_k: Tensor,
        max_q: int,
        max_k: int,
        scale: float | None,
        window_size: tuple[int, int],
        grouped: bool,
    ) -> Tensor:
        group = query.shape[1] // key.shape[1]
        assert grouped == (group > 1)
        lengths = []
        for ends, longest, tokens in ((cu_seq_q, max_q, len(query)), (cu_seq_k, max_k, len(key))):
            assert ends.dtype == torch.int32
            assert isinstance(longest, int)
            assert (int(ends[0]), int(ends[-1])) == (0, tokens)
            lengths.append(ends.diff().tolist())
            assert longest == max(lengths[-1])
        assert window_size in ((-1, -1), (-1, 0))
        self.calls.append((len(lengths[0]), window_size == (-1, 0)))
        pieces = zip(query.split(lengths[0]), key.split(lengths[1]), value.split(lengths[1]), strict=True)
        return torch.cat([_attend(q, k, v, scale, causal=window_size == (-1, 0)) for q, k, v in pieces])


ARGUMENTS = ("query", "key", "value", "cu_seq_q", "cu_seq_k", "max_q", "max_k", "scale", "window_size")


def _attend(q: Tensor, k: Tensor, v: Tensor, scale: float | None, *, causal: bool) -> Tensor:
    k, v = (t.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for t in (k, v))
    scores = torch.einsum("qhd,khd->hqk", q, k) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if causal:  # aligned at the end, as flash attention does it: the last query sees every key
        seen = torch.ones(len(q), len(k), dtype=torch.bool).tril(len(k) - len(q))
        scores = scores.masked_fill(~seen, float("-inf"))
    return torch.einsum("hqk,khd->qhd", scores.softmax(-1), v)
