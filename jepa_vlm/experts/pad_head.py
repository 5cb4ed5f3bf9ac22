"""One answer from each pad."""

from __future__ import annotations

from typing import cast, final

import torch
import torch.nn.functional as F
from torch import nn

from jepa_vlm.experts.expert import Answer, ExpertHead, PadStates
from jepa_vlm.predictors.mlp import seeded_linear
from jepa_vlm.typing import shape_checked


@final
class PadHead(ExpertHead):
    """Two linear layers with GELU between them, on the state at each pad alone: as many answers as pads.

    Args:
        out: Width of an answer.

    Raises:
        ValueError: If ``out`` is below 1.
    """

    def __init__(self, *, out: int) -> None:
        super().__init__()
        if out < 1:
            raise ValueError(f"out must be at least 1, got {out}.")
        self.out = out
        self.linears = nn.ModuleList()

    def setup(self, dim: int, generator: torch.Generator) -> None:
        """See ``ExpertHead.setup``."""
        self.linears = nn.ModuleList((seeded_linear(dim, dim, generator), seeded_linear(dim, self.out, generator)))

    @shape_checked
    def forward(self, states: PadStates) -> Answer:
        """See ``ExpertHead.forward``."""
        if not self.linears:
            raise RuntimeError("PadHead has no weights yet; call setup(dim, generator) first.")
        first, second = (cast("nn.Linear", linear) for linear in self.linears)
        answer: Answer = second(F.gelu(first(states.to(first.weight.dtype))))
        return answer

    def extra_repr(self) -> str:
        """Show the width."""
        return f"out={self.out}"
