"""Terms of an objective, and the algebra that adds and scales them."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, final

import torch
from torch import Tensor, nn

from jepa_vlm.states import States
from jepa_vlm.typing import Latent, Scalar, at_least_float32
from jepa_vlm.views import Request

if TYPE_CHECKING:
    from jepa_vlm.engine.batch import Read
    from jepa_vlm.trajectories import Trajectory


@final
@dataclass(frozen=True)
class Denominator:
    """What a term's sum is divided by: a count that the collator takes from the batch, before any tensor is made.

    Args:
        kind: ``tokens``: supervised tokens. ``examples``: examples. ``pairs``: (t, i), i = 1..horizon, with t and t+i
            in the region.
        request: The region counted over; None for ``examples``.
        horizon: For ``pairs``.
        supervised: For ``pairs``: count only those whose target t+i is supervised.
    """

    kind: Literal["tokens", "examples", "pairs"]
    request: Request | None = None
    horizon: int = 1
    supervised: bool = False

    def count(self, examples: int, reads: Mapping[Request, Read]) -> int:
        """Return the denominator of a batch, given what is read of it."""
        if self.request is None:
            return examples
        read = reads[self.request]
        if self.kind == "pairs":
            return read.pairs(self.horizon, supervised=self.supervised)
        return sum(read.lengths)


@final
@dataclass(frozen=True)
class Shuffled:
    """Distances to the own targets, and to those of other examples, summed over ``count`` examples; detached."""

    matched: Scalar
    shuffled: Scalar
    count: int


@final
@dataclass(frozen=True)
class TermValue:
    """What a term returns: a sum, and the pair of latents that monitors look at.

    Args:
        total: Sum, not mean: the caller divides by the count of the whole accumulated global batch.
        predicted, target: Detached latents of a prediction term, else None.
        parts: Named sums that make up ``total``, for the logs; empty if there is only one.
        each: Detached summands of ``total``, one per example, or by row of a region where ``document`` says whose they
            are; None where they were not asked for (``States.by_example``), or the total is no sum over examples. A
            mixture's losses are logged by source from them.
        document: Which example each summand belongs to; None for one per example.
        shuffled: Where the batch names others, by part of a term without ``predicted`` and ``target``: its detached sum
            over the examples that were also held against another example's target, that sum with the other's, and
            their number.
    """

    total: Scalar
    predicted: Latent | None = None
    target: Latent | None = None
    parts: Mapping[str, Scalar] = field(default_factory=dict)
    each: Tensor | None = None
    document: Tensor | None = None
    shuffled: Mapping[str, Shuffled] = field(default_factory=dict)


class ExtraInputs(Protocol):
    """Makes, of a batch's trajectories, the tensors that a term reads besides states. Picklable; holds no weights."""

    def __call__(
        self, trajectories: Sequence[Trajectory], others: Sequence[Trajectory | None] = ()
    ) -> Mapping[str, Tensor]:
        """Return the tensors by name; ``others`` are as the collator's.

        Raises:
            DataError: If a trajectory is not what it must be.
        """

    def check(self, trajectory: Trajectory) -> None:
        """Check what can be checked cheaply before a run begins: no image is opened.

        Raises:
            DataError: If the trajectory is not what it must be.
        """


class Term(nn.Module, ABC):
    """One summand of an objective: it says which views it needs, and turns their states into a sum and a count.

    It holds no tensors before ``setup``. ``name`` is the term's key in logs; an objective makes it unique.
    ``loss_dropout`` is the share of optimiser steps that leave the term out. ``by_direction`` says of a term with
    latents that only their directions count.
    """

    name: str
    loss_dropout: float = 0.0
    by_direction: bool = False

    @abstractmethod
    def requests(self) -> tuple[Request, ...]:
        """Return the views that this term reads."""

    @abstractmethod
    def denominator(self) -> Denominator:
        """Return what the term's sum is divided by."""

    @property
    def compares_examples(self) -> bool:
        """Whether the term compares the examples of a micro-batch with each other, so that of one it is 0."""
        return False

    @abstractmethod
    def forward(self, states: States) -> TermValue:
        """Return the term's sum over the batch."""

    def setup(self, dim: int, generator: torch.Generator) -> None:
        """Create the parameters that depend on the decoder's hidden size ``dim``. Called once, on a copy."""

    def bind(self, terms: Mapping[str, Term]) -> None:
        """Look up what another term of the same objective lends to this one. Called whenever an objective is made."""

    def slot_inputs(self) -> Tensor | None:
        """Return the learned inputs that this term places into a view ("slots dim"), or None."""
        return None

    def extra_inputs(self) -> ExtraInputs | None:
        """Return what makes the tensors that this term reads besides states (``States.extra``), or None."""
        return None

    def skipped(self, like: Tensor) -> TermValue:
        """Return the value of a batch that leaves the term out, on the device of ``like``."""
        (zero,) = at_least_float32(like.new_zeros(()))
        return TermValue(zero + zero_through(self))

    def __add__(self, other: Term | Objective) -> Objective:
        return Objective(((1.0, self),)) + other

    def __mul__(self, weight: float) -> Objective:
        return Objective(((1.0, self),)) * weight

    __rmul__ = __mul__


@final
class Objective(nn.Module):
    """A weighted sum of terms. Build it with ``+`` and ``*``; equal names get a number.

    Args:
        weighted: (weight, term) pairs.

    Raises:
        ValueError: If there is no term, or a weight is not positive and finite.
    """

    def __init__(self, weighted: tuple[tuple[float, Term], ...]) -> None:
        super().__init__()
        if not weighted:
            raise ValueError("An objective needs at least one term, got none.")
        for weight, term in weighted:
            if not 0 < weight < float("inf"):
                raise ValueError(
                    f"The weight of {term.name} must be positive and finite, got {weight}; leave the term out."
                )
        self.weights: dict[str, float] = {}
        self.terms = nn.ModuleDict()
        for weight, term in weighted:
            name, number = _kind(term), 1
            while name in self.weights:
                number += 1
                name = f"{_kind(term)}_{number}"
            named = copy.deepcopy(term)
            named.name = name
            self.weights[name] = float(weight)
            self.terms[name] = named
        own = {term.name: term for _, term in self.parts()}
        for term in own.values():
            term.bind(own)

    def parts(self) -> tuple[tuple[float, Term], ...]:
        """Return the (weight, term) pairs, in order."""
        return tuple((self.weights[name], term) for name, term in self.terms.items())  # type: ignore[misc]

    def requests(self, without: Collection[str] = ()) -> tuple[Request, ...]:
        """Return every term's requests, each once, those of the terms ``without`` left out."""
        kept = (term for _, term in self.parts() if term.name not in without)
        return tuple(dict.fromkeys(request for term in kept for request in term.requests()))

    def denominators(self) -> dict[str, Denominator]:
        """Return what each term's sum is divided by."""
        return {term.name: term.denominator() for _, term in self.parts()}

    def slot_inputs(self) -> dict[str, Tensor]:
        """Return the learned slot inputs by the name of the term that owns them."""
        found = {term.name: term.slot_inputs() for _, term in self.parts()}
        return {name: slots for name, slots in found.items() if slots is not None}

    def extra_inputs(self) -> dict[str, ExtraInputs]:
        """Return what makes the tensors that terms read besides states, by the name of the term."""
        found = {term.name: term.extra_inputs() for _, term in self.parts()}
        return {name: extra for name, extra in found.items() if extra is not None}

    def setup(self, dim: int, generator: torch.Generator) -> None:
        """Create every term's parameters, in order, from one generator."""
        for _, term in self.parts():
            term.setup(dim, generator)

    def __add__(self, other: Term | Objective) -> Objective:
        if not isinstance(other, (Term, Objective)):
            return NotImplemented
        more = other.parts() if isinstance(other, Objective) else ((1.0, other),)
        return Objective(self.parts() + more)

    def __mul__(self, weight: float) -> Objective:
        if not isinstance(weight, (int, float)):
            return NotImplemented
        return Objective(tuple((weight * own, term) for own, term in self.parts()))

    __rmul__ = __mul__

    def extra_repr(self) -> str:
        """Show the weights."""
        return ", ".join(f"{weight:g} * {name}" for name, weight in self.weights.items())


def zero_through(module: nn.Module) -> Tensor | float:
    """Return a zero that reaches every parameter: what adds nothing to a batch still needs a whole graph (for DDP)."""
    return sum(0.0 * parameter.sum() for parameter in module.parameters())


def _kind(term: Term) -> str:
    return type(term).name
