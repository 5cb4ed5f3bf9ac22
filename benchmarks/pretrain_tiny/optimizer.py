"""Muon for the matrices and AdamW for the rest, over float32 copies of weights that run in another dtype."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.pretrain_tiny.curriculum import SECOND

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


RATE, WARMUP, DECAY, CLIP = 3e-3, 100, 0.05, 1.0
COOLDOWN, LEAST = 0.25, 0.02  # the last steps, as a share of a plateau; share of the rate


@final
class Optimizer:
    """Updates modules in place; small updates are not lost to a coarse dtype.

    Muon (Jordan et al. 2024) orthogonalises the update of every matrix inside the model. At this size it finds the
    circuit "look up an object by its name" in a quarter of AdamW's steps.

    Args:
        modules: Their parameters are updated, and cast to ``dtype``.
        steps: Of the whole training.
        dtype: That the modules run in, and the iteration of Muon.
    """

    def __init__(self, *, modules: Mapping[str, nn.Module], steps: int, dtype: torch.dtype) -> None:
        self.steps = steps
        self.live = {f"{name}.{n}": p for name, module in modules.items() for n, p in module.named_parameters()}
        self.full = {name: parameter.detach().float().clone() for name, parameter in self.live.items()}
        for parameter in self.live.values():
            parameter.data = parameter.data.to(dtype)
        matrices = [t for name, t in self.full.items() if t.ndim == 2 and ("visual" in name or "layers" in name)]
        inside = {id(t) for t in matrices}
        others = [t for t in self.full.values() if id(t) not in inside]
        self._parts: dict[str, torch.optim.Optimizer] = {
            "muon": Muon(matrices, lr=RATE, weight_decay=DECAY, dtype=dtype),
            "adamw": torch.optim.AdamW(
                [
                    {"params": [t for t in others if t.ndim > 1], "weight_decay": DECAY},
                    {"params": [t for t in others if t.ndim < 2], "weight_decay": 0.0},
                ],
                lr=RATE,
                betas=(0.9, 0.98),
                fused=True,
            ),
        }

    def rate(self, step: int) -> float:
        """Return the learning rate of a step: warm-up, and twice a plateau with a straight line down at its end."""
        first = round(SECOND * self.steps)
        left, length = (first - step, first) if step < first else (self.steps - step, self.steps - first)
        line = min(1.0, left / (COOLDOWN * length))
        return RATE * min(1.0, (step + 1) / WARMUP) * max(LEAST, line)

    def step(self, step: int) -> None:
        """Apply the gradients of the modules, and clear them."""
        for name, full in self.full.items():
            gradient = self.live[name].grad
            full.grad = torch.zeros_like(full) if gradient is None else gradient.float()
            self.live[name].grad = None
        torch.nn.utils.clip_grad_norm_(self.full.values(), CLIP, error_if_nonfinite=True)
        for part in self._parts.values():
            for group in part.param_groups:
                group["lr"] = self.rate(step)
            part.step()
        self._copy()

    def save(self, path: Path, step: int) -> None:
        """Write weights and averages into one file, whole or not at all; ``step`` is how many are done."""
        tensors = {f"weight/{name}": full for name, full in self.full.items()}
        for part in self._parts.values():
            for name, full in self.full.items():
                for key, value in part.state.get(full, {}).items():
                    tensors[f"{key}/{name}"] = value
        partial = path.with_suffix(".partial")
        save_file(tensors, partial, metadata={"step": str(step), "steps": str(self.steps)})
        partial.replace(path)

    def load(self, path: Path) -> None:
        """Take everything from a file of ``save``."""
        states: dict[str, dict[str, Tensor]] = {name: {} for name in self.full}
        for key, value in load_file(path, device=str(next(iter(self.full.values())).device)).items():
            kind, _, name = key.partition("/")
            states[name][kind] = value
        with torch.no_grad():
            for name, full in self.full.items():
                full.copy_(states[name].pop("weight"))
        named = {id(full): name for name, full in self.full.items()}
        for part in self._parts.values():
            for full in (full for group in part.param_groups for full in group["params"]):
                part.state[full] = states[named[id(full)]]
        self._copy()

    def _copy(self) -> None:
        with torch.no_grad():
            torch._foreach_copy_(list(self.live.values()), list(self.full.values()))
