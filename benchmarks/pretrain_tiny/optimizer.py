"""Muon for the matrices and AdamW for the rest, over float32 copies of weights that run in another dtype."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.pretrain_tiny.curriculum import SECOND
from benchmarks.pretrain_tiny.muon import Muon

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
