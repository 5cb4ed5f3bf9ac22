"""A predictor that is a gated network (SwiGLU)."""

from __future__ import annotations

from typing import Any, cast, final

import torch
import torch.nn.functional as F
from torch import nn

from jepa_vlm.predictors.mlp import seeded_linear
from jepa_vlm.predictors.predictor import Predictor, expect_dim, not_set_up
from jepa_vlm.typing import Latent, Prediction, shape_checked


@final
class GatedPredictor(Predictor):
    """out(silu(gate(h)) * up(h)) of the context's state h (a SwiGLU, arXiv:2002.05202), each layer with a bias.

    It is LVR's head "glu" (VincentLeebang/lvr@637a9f7, src/model/lvr_heads.py), where ``hidden`` is the decoder's
    intermediate size: 11008 for Qwen2.5-VL-3B, 18944 for the 7B.

    Args:
        hidden: Width of gate and up; None for the context's own size.

    Raises:
        ValueError: If ``hidden`` is less than 1.

    Example:
        >>> predictor = GatedPredictor(hidden=16)
        >>> predictor.setup(8, torch.Generator().manual_seed(0))
        >>> predictor(torch.zeros(3, 8)).shape
        torch.Size([3, 8])
    """

    def __init__(self, *, hidden: int | None = None) -> None:
        super().__init__()
        if hidden is not None and hidden < 1:
            raise ValueError(f"hidden must be at least 1, got {hidden}; for the context's own size leave it out.")
        self.hidden = hidden
        self.layers = nn.ModuleDict()

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the constructor, from which ``predictors.saved`` builds it again."""
        return {"hidden": self.hidden}

    def setup(self, dim: int, generator: torch.Generator) -> None:
        """Draw each layer's weight and bias uniformly from +-1/sqrt(its inputs), in float32."""
        wide = self.hidden or dim
        self.layers = nn.ModuleDict(
            {
                "gate": seeded_linear(dim, wide, generator),
                "up": seeded_linear(dim, wide, generator),
                "out": seeded_linear(wide, dim, generator),
            }
        )

    @shape_checked
    def forward(self, context: Latent) -> Prediction:
        """Return the network's output, computed in the type of its weights."""
        if not self.layers:
            raise not_set_up(self)
        gate = cast("nn.Linear", self.layers["gate"])
        expect_dim(context, gate.in_features)
        state = context.to(gate.weight.dtype)
        return cast("Prediction", self.layers["out"](F.silu(gate(state)) * self.layers["up"](state)))

    def extra_repr(self) -> str:
        """Return the width for ``repr``."""
        return f"hidden={self.hidden}"
