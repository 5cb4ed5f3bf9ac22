"""One answer from each pad."""

from __future__ import annotations

from typing import cast, final

import torch
from torch import nn

from jepa_vlm.experts.expert import Answer, ExpertHead, PadStates, drawn
from jepa_vlm.typing import shape_checked


@final
class PadHead(ExpertHead):
    """Two linear layers with GELU between them, on the state at each pad alone: as many answers as pads.

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
