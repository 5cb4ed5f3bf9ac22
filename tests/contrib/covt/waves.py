"""Tensors by formula: what was computed once with CoVT's code is computed with the same ones here."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

DTYPE = torch.float64


def wave(*shape: int, phase: float) -> Tensor:
    """Return sin(1.7 n + phase) at the n-th place."""
    return torch.sin(1.7 * torch.arange(math.prod(shape), dtype=DTYPE) + phase).reshape(shape)


def filled(layer: nn.Module, *, phase: float) -> nn.Module:
    """Set the n-th parameter of a layer to half a wave of phase ``phase`` + n, in float64."""
    for number, parameter in enumerate(layer.parameters()):
        parameter.data = 0.5 * wave(*parameter.shape, phase=phase + number)
    return layer


def sums(tensors) -> list[float]:
    """Return the sum of the absolute gradients of each."""
    return [tensor.grad.abs().sum().item() for tensor in tensors]
