"""Muon whose iteration runs in a dtype of one's choice: torch's own always takes bfloat16, which many CPUs emulate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, final

import torch
from torch import Tensor

COEFFICIENTS = 3.4445, -4.775, 2.0315  # of the quintic, after Jordan et al. 2024
ITERATIONS, EPSILON, MOMENTUM = 5, 1e-7, 0.95


@final
class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised (Jordan et al. 2024); in bfloat16 it equals ``torch.optim.Muon``.

    Args:
        params: Matrices.
        lr: Learning rate, for updates of the root mean square that AdamW's have.
        weight_decay: Decoupled.
        dtype: Of the iteration.
    """

    def __init__(self, params: Iterable[Tensor], *, lr: float, weight_decay: float, dtype: torch.dtype) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            for matrix in (matrix for matrix in group["params"] if matrix.grad is not None):
                state: dict[str, Any] = self.state[matrix]
                average = state.setdefault("momentum_buffer", torch.zeros_like(matrix))
                average.lerp_(matrix.grad, 1 - MOMENTUM)
                update = orthogonal(matrix.grad.lerp(average, MOMENTUM).to(self.dtype))
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.add_(update, alpha=-group["lr"] * 0.2 * max(matrix.shape) ** 0.5)


def orthogonal(matrix: Tensor) -> Tensor:
    """Return about the nearest matrix with orthonormal rows or columns: singular values from 0.5 to 1.5."""
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    wide = wide / wide.norm().clamp(min=EPSILON)
    first, third, fifth = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=third, alpha=fifth), wide, beta=first)
    return wide.T if matrix.shape[0] > matrix.shape[1] else wide
