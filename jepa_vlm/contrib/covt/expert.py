"""What an expert is: a target that is not learned, a head that answers it from the pads' states, and a loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jepa_vlm.trajectories import LazyImage
from jepa_vlm.typing import PerExample
from jepa_vlm.views import Pads

PadStates = Float[Tensor, "batch pads dim"]
Answer = Float[Tensor, "batch queries out"]
Maps = Float[Tensor, "batch maps height width"]


RATE = 0.2  # of CoVT's query heads: 1e-5 beside 5e-5


def same(answer: Tensor) -> Tensor:
    """Return the answer as it is."""
    return answer


@final
@dataclass(frozen=True)
class Seen:
    """What an expert makes of a batch's images.

    Args:
        target: What is to be answered, ("batch ..."), without gradient.
        decode: Brings a head's answer into the target's shape; it may read what the expert knows of the images, and
            gradient flows through it into the answer.
    """

    target: Tensor
    decode: Callable[[Tensor], Tensor] = same


class ExpertTarget(ABC):
    """What an expert knows of an image. It is no module: its weights, if it has any, neither train nor are saved."""

    @property
    @abstractmethod
    def inputs(self) -> Callable[[LazyImage], Tensor]:
        """What reads an image where batches are made: pickled to get there, it holds no weights."""

    @abstractmethod
    def __call__(self, inputs: Tensor) -> Seen:
        """Return what is known of the images, on the device of their inputs ("batch ...")."""


class ExpertHead(nn.Module, ABC):
    """Answers an expert from the states at its pads. It holds no tensors before ``setup``."""

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
        name: In logs.
        pads: Its places in the view.
        target: What is to be answered.
        head: What answers.
        loss: How far the answer is.
        weight: Of the loss among the experts'.
        rate: Multiple of the learning rate at which the head trains.

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
            states: At the expert's pads.
            inputs: Of the images, from the target's ``inputs``.
        """
        answer, target = self._answered(states, inputs)
        found: Tensor = self.loss(answer, target)
        return found

    def against_others(
        self, states: PadStates, inputs: Tensor, at: Tensor, others: Tensor
    ) -> tuple[PerExample, PerExample]:
        """Return the loss of each example, and of some the loss if another image were asked for.

        Answers that do not depend on the image lose alike, on average, to both.

        Args:
            states, inputs: As for ``forward``.
            at: Which examples are held against another image.
            others: The other images' inputs, in that order.
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
        """Show what is no module."""
        return f"name={self.name!r}, pads={self.pads}, target={self.target}, weight={self.weight:g}, rate={self.rate:g}"
