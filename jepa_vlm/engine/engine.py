"""Which weights encode a packed sequence: this step's, the base's (adapter off), or an average of the adapter's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol, final

import torch
from torch import Tensor, nn

from jepa_vlm.adapters import Backbone
from jepa_vlm.adapters.inside_peft import belongs_to_adapter, has_lora
from jepa_vlm.engine.batch import Batch, BatchPlan, SequenceStates
from jepa_vlm.errors import BackboneError
from jepa_vlm.views import Request, TargetPolicy, TokenizedView


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
        """Encode with these weights, dropout off, inside the block; for sequences without gradient."""
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
        # torch's own way of setting an attribute would take longer than the host has for the sequence.
        on = [vars(module) for module in self._backbone.base.modules() if module.training]
        for attributes in on:
            attributes["training"] = False
        try:
            yield
        finally:
            for attributes in on:
                attributes["training"] = True


class Planner(Protocol):
    """Lays out a batch's views; each engine brings its own. Picklable; holds no weights.

    ``images_together`` says whether the engine encodes all images of a batch in one pass, or those of each view.
    """

    images_together: bool
    encodings: tuple[Request, ...]

    def __call__(
        self,
        views: Mapping[Request, Sequence[TokenizedView]],
        needed: Mapping[Request, Sequence[int]],
        image_starts: Sequence[Sequence[int]],
    ) -> BatchPlan:
        """Return what is run, and where each encoding is found in it."""


class Engine(ABC):
    """Encodes the views of a batch. Engines differ in what they compute twice, never in what they return.

    Attributes:
        name: As in settings.
        shares_passes: Whether views share passes, so that FLOPs and memory follow the closed forms of jepa_vlm.cost.
    """

    name: str
    shares_passes: bool

    @abstractmethod
    def planner(self, encodings: Sequence[Request], *, dropout: bool) -> Planner:
        """Return what plans a batch of these encodings.

        Args:
            encodings: What the objective needs.
            dropout: Whether the backbone drops out in training, which targets must not.
        """

    @abstractmethod
    def check(self, backbone: Backbone) -> None:
        """Check that the engine can run a backbone.

        Raises:
            BackboneError: If it cannot.
        """

    @abstractmethod
    def prepare(self, backbone: Backbone) -> None:
        """Let the backbone's layers call the engine's attention."""

    @abstractmethod
    def run(
        self, backbone: Backbone, weights: TargetWeights, batch: Batch, slot_inputs: Mapping[str, Tensor]
    ) -> dict[str, SequenceStates]:
        """Return the states of every packed sequence of a batch.

        Args:
            backbone: The model.
            weights: Switches to the weights that a view's policy names.
            batch: From the collator, with this engine's planner.
            slot_inputs: Learned inputs by owner, ("slots dim").
        """

    def run_ahead(
        self, backbone: Backbone, weights: TargetWeights, batches: Sequence[Batch], slot_inputs: Mapping[str, Tensor]
    ) -> list[Batch]:
        """Compute what batches without an update between them can share; return the batches with what was found."""
        return list(batches)


def call_attention(base: Any, names: Mapping[str, str]) -> None:
    """Let each part of a model call the attention of this name.

    Args:
        base: The Hugging Face model.
        names: By part of the configuration: ``text_config``, ``vision_config``.

    Raises:
        BackboneError: If the model does not let it be chosen: transformers would warn, and keep its own.
    """
    kind = base.config.model_type
    if all(getattr(base.config, part, base.config)._attn_implementation == name for part, name in names.items()):
        return  # setting it walks through all modules
    try:
        base.set_attn_implementation(dict(names))
    except (ValueError, ImportError) as err:
        reason = next(iter(str(err).splitlines()), type(err).__name__)
        raise BackboneError(f"The family {kind!r} cannot call the attention {dict(names)}: {reason}") from None
    wanted, found = names["text_config"], base.config.get_text_config()._attn_implementation
    if found != wanted:
        raise BackboneError(
            f"The decoder of {kind!r} keeps the attention {found!r} where {wanted!r} is needed; its layers do not go "
            "through transformers' attention interface. Train with --engine separate."
        )
