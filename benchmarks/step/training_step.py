"""One training step, and a meter that reads a clock or a counter where the step passes from one phase to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from benchmarks.clocks import Gauge, Reading
from jepa_vlm.adapters import Backbone
from jepa_vlm.trajectories import Trajectory

# The phases in the order of a step. ``inputs`` embeds tokens and places image features; ``target`` runs packed
# sequences without gradient; ``row`` runs the conversations and the [PRED] soft tokens behind them.
PHASES = ("vision", "inputs", "target", "row", "losses", "backward", "optimizer")
RATE, DECAY, CLIP = 1e-5, 0.1, 1.0  # the recipes' learning rate, weight decay and gradient norm


@final
class PhaseMeter:
    """Reads a gauge at the borders of a step's phases.

    Hooks on the vision tower and the decoder find the borders, so any engine and any stock model can be measured. The
    time between two of their calls counts as ``inputs``, the time after the last call as ``losses``.

    Args:
        backbone: The model whose tower and decoder get hooks.
        gauge: The clock or counter that is read.
    """

    def __init__(self, *, backbone: Backbone, gauge: Gauge) -> None:
        self._backbone, self._gauge = backbone, gauge
        self._marks: list[tuple[str, Reading]] = []

    @contextmanager
    def watching(self) -> Iterator[PhaseMeter]:
        """Measure one step; it starts when the block is entered, and ends with ``mark("end")``."""
        base, adapter = self._backbone.base, self._backbone.adapter
        tower, decoder = adapter.vision(base), adapter.decoder(base)
        hooks = [
            tower.register_forward_pre_hook(lambda *_: self.mark("vision")),
            decoder.register_forward_pre_hook(lambda *_: self.mark("row" if torch.is_grad_enabled() else "target")),
            tower.register_forward_hook(lambda *_: self.mark("inputs")),
            decoder.register_forward_hook(lambda *_: self.mark("inputs")),
        ]
        self._marks = [("inputs", self._gauge.read())]
        try:
            yield self
        finally:
            for hook in hooks:
                hook.remove()

    def mark(self, phase: str) -> None:
        """Record that a phase starts now."""
        self._marks.append((phase, self._gauge.read()))

    def intervals(self) -> list[tuple[str, Reading, Reading]]:
        """Return each stretch of the step: its phase, and the gauge at its two ends."""
        names = [name for name, _ in self._marks]
        if "backward" in names:  # the losses lie between the decoder's last pass and the backward pass
            names[names.index("backward") - 1] = "losses"
        readings = [reading for _, reading in self._marks]
        return list(zip(names, readings, readings[1:], strict=False))

    def by_phase(self) -> dict[str, float]:
        """Return how much the gauge grew in each phase."""
        found = dict.fromkeys(PHASES, 0.0)
        for name, first, second in self.intervals():
            found[name] += self._gauge.between(first, second)
        return found

    @property
    def total(self) -> float:
        """How much the gauge grew over the whole step."""
        return self._gauge.between(self._marks[0][1], self._marks[-1][1])


@final
@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all variants of a comparison have in common.

    Args:
        backbone: The model with its adapter; all variants share it.
        trajectories: One micro-batch.
        checkpointing: Whether the decoder's layers run again for the backward pass.
        seed: Random seed of the terms' own parameters.
        stock_attention: Name of transformers' attention in the stock steps.
    """

    backbone: Backbone
    trajectories: Sequence[Trajectory]
    checkpointing: bool = False
    seed: int = 0
    stock_attention: str = "sdpa"

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.backbone.base.parameters()).device

    @property
    def half(self) -> bool:
        """Whether the base weights are in half precision; a step then runs under autocast."""
        return next(self.backbone.base.parameters()).dtype in (torch.bfloat16, torch.float16)

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context of the forward pass; the meta device has no autocast and needs none."""
        if not self.half or self.device.type == "meta":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=next(self.backbone.base.parameters()).dtype)


@final
class Step:
    """The training step of one variant on one batch; it can run any number of times.

    Args:
        setting: What the variants of the comparison share.
        loss: Runs the forward pass and returns the loss.
        module: Contains every parameter that trains.
        around: Returns a context that must be open while the step runs (attention functions, checkpointing). Entering
            it is not measured.
    """

    def __init__(
        self,
        *,
        setting: Setting,
        loss: Callable[[], Tensor],
        module: nn.Module,
        around: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self.setting, self._loss, self.around = setting, loss, around
        self.parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        # foreach: fused over tensors, as is torch's default on a GPU.
        self._optimizer = torch.optim.AdamW(self.parameters, lr=RATE, weight_decay=DECAY, foreach=True)

    def forward(self) -> Tensor:
        """Return the loss, its graph attached."""
        with self.setting.autocast():
            return self._loss()

    def run(self, meter: PhaseMeter) -> Tensor:
        """Run forward pass, backward pass, clipping and optimizer, and return the loss."""
        with self.around(), meter.watching():
            loss = self.forward()
            meter.mark("backward")
            loss.backward()
            meter.mark("optimizer")
            nn.utils.clip_grad_norm_(self.parameters, CLIP)
            self._optimizer.step()
            self._optimizer.zero_grad()
            meter.mark("end")
        return loss.detach()

    def release(self) -> None:
        """Drop the gradients that an interrupted step left behind."""
        self._optimizer.zero_grad()
