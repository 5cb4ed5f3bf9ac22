"""Learned queries that look at the pads' states (CoVT)."""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import nn

from jepa_vlm.experts.expert import Answer, ExpertHead, PadStates
from jepa_vlm.predictors.mlp import seeded_linear
from jepa_vlm.typing import shape_checked


@final
class QueryHead(ExpertHead):
    """Projects the pads' states to ``width``, lets each of ``queries`` learned queries attend to them, and projects.

    Args:
        queries: How many answers are given: one for each patch of an image, or for each mask.
        width: Of queries, keys and values.
        out: Width of an answer; None for ``width``, without a last projection.
        heads: Of the attention.

    Raises:
        ValueError: If a number is below 1, or ``heads`` does not divide ``width``.

    References:
        Wakals/CoVT@80a28bf, covt_qwen2_5_vl.py: a linear layer, learned queries and multi-head attention for SAM
        (8 queries of 256) and DINOv2 (1025 queries of 1024). Its keys have a bias, which changes nothing.
    """

    def __init__(self, *, queries: int, width: int, out: int | None = None, heads: int = 8) -> None:
        super().__init__()
        if min(queries, width, heads, out or 1) < 1 or width % heads:
            raise ValueError(
                f"queries, width, out and heads must be at least 1, and heads divide width; got {queries=}, {width=}, "
                f"{out=}, {heads=}."
            )
        self.count, self.width, self.out, self.heads = queries, width, out, heads
        self.linears = nn.ModuleDict()
        self.queries = nn.Parameter(torch.empty(0))

    def setup(self, dim: int, generator: torch.Generator) -> None:
        """See ``ExpertHead.setup``; queries are drawn with a standard deviation of 1."""
        self.linears = nn.ModuleDict({"project": seeded_linear(dim, self.width, generator)})
        for name in ("query", "key", "value", "mix"):
            bias = name != "key"  # it would add the same to all of a query's scores, and never train
            self.linears[name] = seeded_linear(self.width, self.width, generator, bias=bias)
        if self.out is not None:
            self.linears["answer"] = seeded_linear(self.width, self.out, generator)
        self.queries = nn.Parameter(torch.randn(self.count, self.width, generator=generator))

    @shape_checked
    def forward(self, states: PadStates) -> Answer:
        """See ``ExpertHead.forward``."""
        if not self.linears:
            raise RuntimeError("QueryHead has no weights yet; call setup(dim, generator) first.")
        linears = self.linears
        memory = linears["project"](states.to(self.queries.dtype))
        query = repeat(linears["query"](self.queries), "queries width -> batch queries width", batch=len(states))
        parts = [
            rearrange(part, "batch places (heads width) -> batch heads places width", heads=self.heads)
            for part in (query, linears["key"](memory), linears["value"](memory))
        ]
        found = rearrange(
            F.scaled_dot_product_attention(*parts), "batch heads queries width -> batch queries (heads width)"
        )
        answer: Answer = linears["mix"](found)
        return answer if self.out is None else linears["answer"](answer)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"queries={self.count}, width={self.width}, out={self.out}, heads={self.heads}"
