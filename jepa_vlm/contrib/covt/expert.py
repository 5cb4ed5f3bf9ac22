"""The parts of an expert: a fixed target, a head that predicts it from the states at the expert tokens, and a loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jepa_vlm.contrib.covt.padded_conversation import Pads
from jepa_vlm.trajectories import LazyImage
from jepa_vlm.typing import PerExample

PadStates = Float[Tensor, "batch pads dim"]
Answer = Float[Tensor, "batch queries out"]
Maps = Float[Tensor, "batch maps height width"]

# Multiple of the learning rate for CoVT's query heads: 1e-5, where the rest trains at 5e-5.
RATE = 0.2


def same(answer: Tensor) -> Tensor:
    """Return the answer as it is."""
    return answer


@final
@dataclass(frozen=True)
class Seen:
    """The expert's output for the images of a batch.

    Args:
        target: What the head must predict, ("batch ..."), without gradient.
        decode: Converts the head's answer to the shape of the target. It may use the expert's features of the images;
            gradients flow through it into the answer.
    """

    target: Tensor
    decode: Callable[[Tensor], Tensor] = same


class ExpertTarget(ABC):
    """Computes what an expert sees in an image. It is no module, so its weights are neither trained nor saved."""

    @property
    @abstractmethod
    def inputs(self) -> Callable[[LazyImage], Tensor]:
        """The function that reads an image in the collator; it is picklable and holds no weights."""

    @abstractmethod
    def __call__(self, inputs: Tensor) -> Seen:
        """Return the expert's output for a batch of inputs ("batch ..."), on their device."""


class ExpertHead(nn.Module, ABC):
    """Predicts an expert's target from the states at its tokens. It holds no tensors before ``setup``."""

    @abstractmethod
    def setup(self, dim: int, generator: torch.Generator) -> None:
        """Create the weights for a decoder of hidden size ``dim``, in float32, drawn from ``generator`` alone."""

    @abstractmethod
    def forward(self, states: PadStates) -> Answer:
        """Return the answer."""


class ExpertLoss(nn.Module, ABC):
    """Distance between an answer and a target of the same shape, one value per example, in at least float32."""

    @abstractmethod
    def forward(self, answer: Tensor, target: Tensor) -> PerExample:
        """Return the distance of each example."""


@final
class Expert(nn.Module):
    """One expert of ``ExpertDistillation``.

    Args:
        name: Name in logs.
        pads: The expert's tokens in the view.
        target: Computes what the head must predict.
        head: Predicts it from the states at the tokens.
        loss: Distance between prediction and target.
        weight: Weight of the loss among the experts.
        rate: Multiple of the learning rate for the head.

    Raises:
        ValueError: If a part is of the wrong kind, or weight or rate is not positive.

    Example:
        >>> from jepa_vlm.contrib.covt import true_depth
        >>> true_depth(pads=2).pads
        Pads(token='<|depth_pad|>', count=2, words='')
    """

    def __init__(
        self,
        *,
        name: str,
        pads: Pads,
        target: ExpertTarget,
        head: ExpertHead,
        loss: ExpertLoss,
        weight: float = 1.0,
        rate: float = 1.0,
    ) -> None:
        super().__init__()
        kinds = (("pads", pads, Pads), ("target", target, ExpertTarget), ("head", head, ExpertHead))
        for label, part, kind in (*kinds, ("loss", loss, ExpertLoss)):
            if not isinstance(part, kind):
                raise ValueError(f"{label} must be of the kind {kind.__name__}, got {type(part).__name__}.")
        if not 0 < weight < float("inf"):
            raise ValueError(f"weight must be positive and finite, got {weight}; leave the expert out instead.")
        if not 0 < rate < float("inf"):
            raise ValueError(f"rate must be a positive multiple of the learning rate, got {rate}.")
        self.name, self.pads, self.target, self.weight, self.rate = name, pads, target, weight, rate
        self.head, self.loss = head, loss

    def forward(self, states: PadStates, inputs: Tensor) -> PerExample:
        """Return the loss of each example.

        Args:
            states: States at the expert's tokens.
            inputs: Inputs made from the images by ``target.inputs``.
        """
        answer, target = self._answered(states, inputs)
        found: Tensor = self.loss(answer, target)
        return found

    def against_others(
        self, states: PadStates, inputs: Tensor, at: Tensor, others: Tensor
    ) -> tuple[PerExample, PerExample]:
        """Return the loss of each example, and for some examples the loss against the target of another image.

        If the answers do not depend on the image, both losses are equal on average.

        Args:
            states, inputs: As for ``forward``.
            at: Numbers of the examples that are compared with another image.
            others: Inputs of the other images, in the order of ``at``.
        """
        answer, target = self._answered(states, inputs)
        with torch.no_grad():
            other = self.target(others).target
        return self.loss(answer, target), self.loss(answer[at], other)

    def _answered(self, states: PadStates, inputs: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            seen = self.target(inputs)
        return seen.decode(self.head(states)), seen.target

    def extra_repr(self) -> str:
        """Show the parts that are no modules."""
        return f"name={self.name!r}, pads={self.pads}, target={self.target}, weight={self.weight:g}, rate={self.rate:g}"
