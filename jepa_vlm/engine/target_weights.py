"""Which weights encode a row: this step's, the base's (adapter off), or an average of the adapter's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import final

import torch
from torch import nn

from jepa_vlm.adapters import Backbone
from jepa_vlm.adapters.inside_peft import belongs_to_adapter, has_lora
from jepa_vlm.errors import BackboneError
from jepa_vlm.views import TargetPolicy


@final
class TargetWeights(nn.Module):
    """Switches a backbone between the weights that target policies name.

    Args:
        backbone: With LoRA on, if a policy needs it.
        policies: Every policy of the objective.

    Raises:
        BackboneError: If ``frozen`` or ``ema`` is asked for without LoRA.
        ValueError: If two ``ema`` policies have different decays.
    """

    def __init__(self, *, backbone: Backbone, policies: Sequence[TargetPolicy]) -> None:
        super().__init__()
        self._backbone, self._adapter_off = backbone, getattr(backbone.model, "disable_adapter", nullcontext)
        wanted = {policy.weights for policy in policies if not policy.is_current}
        if wanted and not has_lora(backbone.base):
            raise BackboneError(
                f"Policy {'/'.join(sorted(wanted))} needs LoRA: the base without, or an average of, an "
                "adapter. Turn LoRA on, or use stop_gradient()."
            )
        decays = {policy.decay for policy in policies if policy.decay}
        if len(decays) > 1:
            raise ValueError(f"All ema targets of an objective share one average; got decays {sorted(decays)}.")
        self.decay = decays.pop() if decays else None
        if self.decay is not None:
            for i, parameter in enumerate(self._adapter_parameters()):
                self.register_buffer(f"average_{i}", parameter.detach().clone())

    @contextmanager
    def use(self, weights: str) -> Iterator[None]:
        """Encode with these weights, dropout off, inside the block; for rows without gradient."""
        with self._without_dropout():
            others = {"frozen": self._adapter_off, "ema": self._averaged}
            with others.get(weights, nullcontext)():
                yield

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the adapter's weights; call once after each optimiser step."""
        if self.decay is not None:
            for average, parameter in zip(self.buffers(), self._adapter_parameters(), strict=True):
                average.lerp_(parameter.detach().to(average.dtype), 1 - self.decay)

    def _adapter_parameters(self) -> list[nn.Parameter]:
        return [p for name, p in self._backbone.base.named_parameters() if belongs_to_adapter(name)]

    def _swap(self) -> None:
        """Exchange storage with the average; the parameters stay the same objects for optimiser and graph."""
        for average, parameter in zip(self.buffers(), self._adapter_parameters(), strict=True):
            average.data, parameter.data = parameter.data, average.data
        torch.clear_autocast_cache()  # it keeps half-precision copies by parameter, and would not see the exchange

    @contextmanager
    def _without_dropout(self) -> Iterator[None]:
        # Every module, as attention drops by its own flag, without an nn.Dropout. A large model has thousands, and
        # torch's own way of setting an attribute would take longer than the host has for the row.
        on = [vars(module) for module in self._backbone.base.modules() if module.training]
        for attributes in on:
            attributes["training"] = False
        try:
            yield
        finally:
            for attributes in on:
                attributes["training"] = True
