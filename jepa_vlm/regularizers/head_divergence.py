"""Divergence of the next-token distributions of two states under the language model's head."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from jepa_vlm.states import Head
from jepa_vlm.typing import Hidden, PerToken, full_precision, shape_checked


@shape_checked
def head_divergence(target: Hidden, predicted: Hidden, head: Head, *, chunk: int) -> PerToken:
    """Return KL(p(.|target) || p(.|predicted)) of each row under the head, which gets no gradient.

    It is never computed in half precision, whose rounding outweighs the divergence of similar distributions. The logits
    of ``chunk`` rows are held at a time, and recomputed in the backward pass.

    Args:
        target, predicted: States, in float32 or wider.
        head: The language model's head.
        chunk: Rows whose logits are held at once.
    """
    weight = head.weight.detach().to(target.dtype)
    bias = None if head.bias is None else head.bias.detach().to(target.dtype)
    if len(target) <= chunk:
        return _divergence(target, predicted, weight, bias)
    parts = [
        checkpoint(_divergence, goal, guess, weight, bias, use_reentrant=False, preserve_rng_state=False)
        for goal, guess in zip(target.split(chunk), predicted.split(chunk), strict=True)
    ]
    return torch.cat(parts)


def _divergence(target: Tensor, predicted: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    with full_precision(target.device):
        goal = F.log_softmax(F.linear(target, weight, bias), dim=-1)
        guess = F.log_softmax(F.linear(predicted, weight, bias), dim=-1)
    return F.kl_div(guess, goal, reduction="none", log_target=True).sum(dim=-1)
