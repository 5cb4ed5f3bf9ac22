"""A predictor that is a small multilayer perceptron."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal, cast, final

import torch
import torch.nn.functional as F
from torch import nn

from jepa_vlm.predictors.predictor import Predictor, expect_dim, not_set_up
from jepa_vlm.typing import Latent, Prediction, shape_checked


@final
class MLPPredictor(Predictor):
    """Maps the context's state to the prediction through ``layers`` linear layers with GELU between them.

    Args:
        hidden: Width of the hidden layers; None for the context's own size.
        layers: Number of linear layers.
        norm: Normalization before the first layer: ``none``, or ``layer`` for a LayerNorm with epsilon 1e-6. With two
            layers of the context's own size that is LVR's head "simple" (VincentLeebang/lvr@637a9f7,
            src/model/lvr_heads.py).
        out: Size of the prediction; None for the context's own size.

    Raises:
        ValueError: If ``hidden``, ``layers`` or ``out`` is less than 1, or ``norm`` is unknown.

    Example:
        >>> predictor = MLPPredictor(hidden=16)
        >>> predictor.setup(8, torch.Generator().manual_seed(0))
        >>> predictor(torch.zeros(3, 8)).shape
        torch.Size([3, 8])
    """

    def __init__(
        self,
        *,
        hidden: int | None = None,
        layers: int = 2,
        norm: Literal["none", "layer"] = "none",
        out: int | None = None,
    ) -> None:
        super().__init__()
        if hidden is not None and hidden < 1:
            raise ValueError(f"hidden must be at least 1, got {hidden}; for the context's own size leave it out.")
        if layers < 1:
            raise ValueError(f"layers must be at least 1, got {layers}; for none use IdentityPredictor().")
        if norm not in ("none", "layer"):
            raise ValueError(f"norm must be 'none' or 'layer', got {norm!r}.")
        if out is not None and out < 1:
            raise ValueError(f"out must be at least 1, got {out}; for the context's own size leave it out.")
        self.hidden, self.layers, self.norm_kind, self.out = hidden, layers, norm, out
        self.norm: nn.Module = nn.Identity()
        self.linears = nn.ModuleList()

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the constructor, from which ``predictors.saved`` builds it again."""
        return {"hidden": self.hidden, "layers": self.layers, "norm": self.norm_kind, "out": self.out}

    def setup(self, dim: int, generator: torch.Generator) -> None:
        """Draw each layer's weight and bias uniformly from +-1/sqrt(its inputs), in float32."""
        widths = [dim, *[self.hidden or dim] * (self.layers - 1), self.width(dim)]
        self.norm = nn.LayerNorm(dim, eps=1e-6, dtype=torch.float32) if self.norm_kind == "layer" else nn.Identity()
        self.linears = nn.ModuleList(seeded_linear(wide, out, generator) for wide, out in pairwise(widths))

    def width(self, dim: int) -> int:
        """Return ``out``, or ``dim``."""
        return self.out or dim

    @shape_checked
    def forward(self, context: Latent) -> Prediction:
        """Return the network's output, computed in the type of its weights."""
        if not self.linears:
            raise not_set_up(self)
        first, *others = (cast("nn.Linear", linear) for linear in self.linears)
        expect_dim(context, first.in_features)
        state = first(self.norm(context.to(first.weight.dtype)))
        for linear in others:
            state = linear(F.gelu(state))
        return cast("Prediction", state)

    def extra_repr(self) -> str:
        """Return width and depth for ``repr``."""
        normed = "" if self.norm_kind == "none" else f", norm={self.norm_kind!r}"
        return f"hidden={self.hidden}, layers={self.layers}{normed}, out={self.out}"


def seeded_linear(inputs: int, outputs: int, generator: torch.Generator, *, bias: bool = True) -> nn.Linear:
    """Return a linear layer whose weights are drawn from ``generator`` and not from the global generator."""
    linear = nn.utils.skip_init(nn.Linear, inputs, outputs, bias=bias, dtype=torch.float32, device=generator.device)
    with torch.no_grad():
        for parameter in linear.parameters():
            parameter.uniform_(-(inputs**-0.5), inputs**-0.5, generator=generator)
    return cast("nn.Linear", linear)
