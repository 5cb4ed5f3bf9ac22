"""Next-token cross-entropy that never holds the logits of all tokens at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from jepa_vlm.states import Head
from jepa_vlm.typing import Hidden, PerToken, Scalar, TokenIds, shape_checked

IGNORED = -100
_HALF = (torch.float16, torch.bfloat16)


@shape_checked
def token_cross_entropy(hidden: Hidden, labels: TokenIds, head: Head, *, chunk: int = 1024) -> Scalar:
    """Return the summed cross-entropy of the labels in at least float32, with the logits of ``chunk`` rows at a time.

    Rows labelled -100 add nothing but are computed nevertheless: pass supervised rows only. Without any row the sum is
    a 0 that is still connected to ``hidden``. For a head without bias torch's fused op runs, with an explicit chunk
    (its automatic one is many times slower); otherwise ``chunked_cross_entropy``.

    Args:
        hidden: States after the final norm, each from the position before its label.
        labels: Identifier of the token that each state predicts.
        head: The language model's head.
        chunk: Rows whose logits are held at once.

    Raises:
        ValueError: If ``chunk`` is less than 1.
    """
    _check(chunk)
    hidden, head = _as_computed(hidden, head)
    if not _fusable(hidden, head):
        return chunked_cross_entropy(hidden, labels, head, chunk=chunk)
    # In half precision the rows are summed here: the op would return a half precision sum.
    return _fused(hidden, labels, head, chunk, "none" if hidden.dtype in _HALF else "sum").sum()


@shape_checked
def token_cross_entropies(hidden: Hidden, labels: TokenIds, head: Head, *, chunk: int = 1024) -> PerToken:
    """Return the cross-entropy of each row, whose sum is ``token_cross_entropy``; 0 for a row labelled -100.

    In full precision the fused op computes the logits a second time in the backward pass.

    Raises:
        ValueError: If ``chunk`` is less than 1.
    """
    _check(chunk)
    hidden, head = _as_computed(hidden, head)
    if not _fusable(hidden, head):
        return _chunked(hidden, labels, head, chunk=chunk, reduction="none")
    return _fused(hidden, labels, head, chunk, "none")


def chunked_cross_entropy(hidden: Tensor, labels: Tensor, head: Head, *, chunk: int) -> Tensor:
    """Return the same sum by plain operations, as a reference; the backward pass recomputes each chunk's logits."""
    return _chunked(hidden, labels, head, chunk=chunk, reduction="sum").sum()


def _check(chunk: int) -> None:
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}.")


def _as_computed(hidden: Tensor, head: Head) -> tuple[Tensor, Head]:
    """Return states and head in autocast's precision, if it is on.

    Autocast does not cover the fused op, and would leave both in float32 where the head trains.
    """
    kind = hidden.device.type
    if not torch.amp.is_autocast_available(kind) or not torch.is_autocast_enabled(kind):
        return hidden, head
    half = torch.get_autocast_dtype(kind)
    return hidden.to(half), Head(head.weight.to(half), None if head.bias is None else head.bias.to(half))


def _fused(hidden: Tensor, labels: Tensor, head: Head, chunk: int, reduction: str) -> Tensor:
    # The chunk is explicit: the op's automatic one is many times slower.
    options = nn.LinearCrossEntropyOptions(chunking_method=None, batch_chunk_size=chunk, allow_retain_graph=True)
    loss = F.linear_cross_entropy(
        hidden, head.weight, labels, reduction=reduction, ignore_index=IGNORED, options=options
    )
    return loss.to(torch.promote_types(loss.dtype, torch.float32))


def _chunked(hidden: Tensor, labels: Tensor, head: Head, *, chunk: int, reduction: str) -> Tensor:
    """Return the sum of each chunk, or the loss of each row, depending on ``reduction``."""
    found = [
        checkpoint(
            _cross_entropy,
            some,
            wanted,
            head.weight,
            head.bias,
            reduction,
            use_reentrant=False,
            preserve_rng_state=False,
        )
        for some, wanted in zip(hidden.split(chunk), labels.split(chunk), strict=True)
    ]
    return torch.cat([values.reshape(-1) for values in found])


def _cross_entropy(hidden: Tensor, labels: Tensor, weight: Tensor, bias: Tensor | None, reduction: str) -> Tensor:
    logits = F.linear(hidden, weight, bias)
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(wide, labels, ignore_index=IGNORED, reduction=reduction)


def _fusable(hidden: Tensor, head: Head) -> bool:
    """Whether torch's op does exactly this: plain tensors of one type, no bias."""
    plain = type(head.weight) in (Tensor, nn.Parameter)  # not a DTensor or a quantised weight
    same = head.weight.dtype == hidden.dtype
    exists = hasattr(F, "linear_cross_entropy")  # from torch 2.13 on
    return exists and plain and same and head.bias is None
