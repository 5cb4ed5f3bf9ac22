"""Heads that answer an expert from the states at its tokens: one answer per token, or learned queries (CoVT)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepa_vlm.contrib.covt.expert import Answer, ExpertHead, PadStates
from jepa_vlm.typing import shape_checked

BASE = 10000  # base of the rotation's wavelengths
SPREAD = 0.02  # standard deviation of new weights: transformers' initializer_range for Qwen2.5-VL


def drawn(kind: Callable[..., nn.Module], *sizes: int, generator: torch.Generator, **more: Any) -> nn.Module:
    """Return a layer in float32, initialised as in CoVT's heads, drawn from ``generator`` alone.

    Weights are drawn from N(0, 0.02), the input projections of attention from Xavier's uniform distribution; biases
    are 0.
    """
    layer: nn.Module = nn.utils.skip_init(kind, *sizes, device=generator.device, dtype=torch.float32, **more)
    for name, parameter in layer.named_parameters():
        if "bias" in name:
            nn.init.zeros_(parameter)
        elif "in_proj" in name:
            nn.init.xavier_uniform_(parameter, generator=generator)
        else:
            nn.init.normal_(parameter, std=SPREAD, generator=generator)
    return layer


@final
class PadHead(ExpertHead):
    """Two linear layers with GELU between them, applied to each expert token's state: one answer per token.

    Args:
        out: Width of an answer.

    Raises:
        ValueError: If ``out`` is below 1.

    References:
        Wakals/CoVT@80a28bf, covt_qwen2_5_vl.py: ``depth_token_generator``.
    """

    def __init__(self, *, out: int) -> None:
        super().__init__()
        if out < 1:
            raise ValueError(f"out must be at least 1, got {out}.")
        self.out = out
        self.layers = nn.Sequential()

    def setup(self, dim: int, generator: torch.Generator) -> None:
        """See ``ExpertHead.setup``."""
        first, second = (drawn(nn.Linear, dim, out, generator=generator) for out in (dim, self.out))
        self.layers = nn.Sequential(first, nn.GELU(), second)

    @shape_checked
    def forward(self, states: PadStates) -> Answer:
        """See ``ExpertHead.forward``."""
        if not len(self.layers):
            raise RuntimeError("PadHead has no weights yet; call setup(dim, generator) first.")
        return cast("Answer", self.layers(states.to(next(self.layers.parameters()).dtype)))

    def extra_repr(self) -> str:
        """Show the width."""
        return f"out={self.out}"


@final
class QueryHead(ExpertHead):
    """Projects the states at the expert tokens to ``width``; each of ``queries`` learned queries attends to them.

    The projections are normalised along the **tokens**, one channel at a time.

    Args:
        queries: Number of answers: one for each patch of an image, or for each mask.
        width: Width of queries, keys, values and answers.
        heads: Number of attention heads.
        rotary: Whether the states are first rotated by their position among the tokens (CoVT: for SAM alone). Without
            it, the queries cannot tell apart tokens with equal states.

    Raises:
        ValueError: If a number is below 1, or ``heads`` does not divide ``width``.

    References:
        Wakals/CoVT@80a28bf, covt_qwen2_5_vl.py, ``CoVTForConditionalGeneration.forward`` and ``apply_rope_custome``:
        SAM (8 queries of 256) and DINOv2 (1025 queries of 1024).
    """

    def __init__(self, *, queries: int, width: int, heads: int = 8, rotary: bool = False) -> None:
        super().__init__()
        if min(queries, width, heads) < 1 or width % heads:
            raise ValueError(
                "queries, width and heads must be at least 1, and heads divide width; got "
                f"{queries=}, {width=}, {heads=}."
            )
        self.count, self.width, self.heads, self.rotary = queries, width, heads, rotary
        self.layers = nn.ModuleDict()
        self.queries = nn.Parameter(torch.empty(0))

    def setup(self, dim: int, generator: torch.Generator) -> None:
        """See ``ExpertHead.setup``; queries are drawn with a standard deviation of 1."""
        self.layers["project"] = drawn(nn.Linear, dim, self.width, generator=generator)
        self.layers["attention"] = drawn(
            nn.MultiheadAttention, self.width, self.heads, batch_first=True, generator=generator
        )
        self.queries = nn.Parameter(torch.randn(self.count, self.width, generator=generator))

    @shape_checked
    def forward(self, states: PadStates) -> Answer:
        """See ``ExpertHead.forward``."""
        if not self.layers:
            raise RuntimeError("QueryHead has no weights yet; call setup(dim, generator) first.")
        states = states.to(self.queries.dtype)
        memory = F.normalize(self.layers["project"](rotated(states) if self.rotary else states), dim=1)
        queries = self.queries.expand(len(states), -1, -1)
        found, _ = self.layers["attention"](queries, memory, memory, need_weights=False)
        return cast("Answer", found)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"queries={self.count}, width={self.width}, heads={self.heads}, rotary={self.rotary}"


def rotated(states: Tensor) -> Tensor:
    """Return states ("batch pads dim", even dim), each pair (i, i + dim / 2) rotated by pad * 10000^(-2i / dim)."""
    half = states.shape[-1] // 2
    pads, pair = (torch.arange(count, device=states.device, dtype=states.dtype) for count in (states.shape[1], half))
    angle = torch.outer(pads, BASE ** (-pair / half))
    one, other = states[..., :half], states[..., half:]
    turned = (one * angle.cos() - other * angle.sin(), one * angle.sin() + other * angle.cos())
    return torch.cat(turned, dim=-1)
