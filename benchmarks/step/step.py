"""One training step, taken apart into what is measured and what merely has to hold around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import final

import torch
from jepa_vlm.bench.phases import PhaseMeter
from torch import Tensor, nn

from jepa_vlm.adapters import Backbone
from jepa_vlm.trajectories import Trajectory

RATE, DECAY, CLIP = 1e-5, 0.1, 1.0  # the recipes' learning rate, weight decay and norm of the gradient


@final
@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all variants of a comparison have in common.

    Args:
        backbone: With its adapter on; shared by all variants.
        trajectories: One micro-batch.
        checkpointing: Whether the decoder's layers are run again for the backward pass.
        seed: Of the terms' own parameters.
        stock_attention: transformers' attention for the stock steps.
    """

    backbone: Backbone
    trajectories: Sequence[Trajectory]
    checkpointing: bool = False
    seed: int = 0
    stock_attention: str = "sdpa"

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.backbone.base.parameters()).device

    @property
    def half(self) -> bool:
        """Whether the base weights are in half precision, so that a step runs under autocast."""
        return next(self.backbone.base.parameters()).dtype in (torch.bfloat16, torch.float16)

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context of the forward pass; the meta device has none and needs none."""
        if not self.half or self.device.type == "meta":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=next(self.backbone.base.parameters()).dtype)


@final
class Step:
    """A variant's step on one batch, to be run again and again.

    Args:
        setting: Of the comparison.
        loss: The forward pass.
        module: What holds everything that trains.
        around: What must hold while the step runs (attention functions, checkpointing); entering it is not measured.
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
        # Fused over tensors, as is the default on a GPU.
        self._optimizer = torch.optim.AdamW(self.parameters, lr=RATE, weight_decay=DECAY, foreach=True)

    def forward(self) -> Tensor:
        """Return the loss, its graph attached."""
        with self.setting.autocast():
            return self._loss()

    def run(self, meter: PhaseMeter) -> Tensor:
        """Run the whole step and return its loss: forward, backward, clipping and the optimiser."""
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
        """Let go of the gradients that a step left behind when it broke off."""
        self._optimizer.zero_grad()
