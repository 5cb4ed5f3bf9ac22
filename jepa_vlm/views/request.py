"""What an objective asks of a view: where states are read, which weights encode it. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, final

from jepa_vlm.views.view import View


@final
@dataclass(frozen=True)
class TargetPolicy:
    """How a view's states are made. Use the functions below, which name the cases that make sense.

    Args:
        weights: ``"current"``, ``"frozen"`` (the base, its adapter off), ``"ema"`` (an average of the adapter) or
            ``"cached"`` (the base, computed beforehand).
        gradient: Whether the states carry gradient; without it they are detached and dropout is off.
        decay: Of the average; only with ``weights="ema"``.
        folder: Of the stored states; only with ``weights="cached"``.

    Raises:
        ValueError: If gradient is to flow through weights that are not this step's.
    """

    weights: Literal["current", "frozen", "ema", "cached"] = "current"
    gradient: bool = False
    decay: float = 0.0
    folder: str = field(default="", repr=False)  # where states lie is no part of what is computed

    def __post_init__(self) -> None:
        if self.gradient and self.weights != "current":
            raise ValueError(f"Gradient flows through the current weights alone, got {self.weights!r}.")

    @property
    def is_current(self) -> bool:
        """Whether this step's weights encode the view."""
        return self.weights == "current"

    @property
    def is_cached(self) -> bool:
        """Whether states are read from a folder instead of computed."""
        return self.weights == "cached"


def stop_gradient() -> TargetPolicy:
    """Encode with the weights of this step, detached (Pearl, section 3)."""
    return TargetPolicy()


def with_gradient() -> TargetPolicy:
    """Encode with the weights of this step and let gradient flow into the target (LLM-JEPA)."""
    return TargetPolicy(gradient=True)


def frozen() -> TargetPolicy:
    """Encode with the base weights, the LoRA adapter switched off. Needs LoRA."""
    return TargetPolicy(weights="frozen")


def ema(decay: float = 0.999) -> TargetPolicy:
    """Encode with an exponential moving average of the LoRA adapter's weights. Needs LoRA.

    Args:
        decay: Share of the old average that each optimiser step keeps, in (0, 1).

    Raises:
        ValueError: If ``decay`` is outside (0, 1).
    """
    if not 0 < decay < 1:
        raise ValueError(f"decay must lie in (0, 1), got {decay}; for no averaging use stop_gradient().")
    return TargetPolicy(weights="ema", decay=decay)


def cached(folder: str | Path) -> TargetPolicy:
    """Encode with the base weights, once for each trajectory, and read the states from ``folder`` ever after.

    The same targets as ``frozen()``, without their computation in every step. A run fills the folder when it is new, in
    Python ``jepa_vlm.fill_targets`` does. What is stored belongs to one model, processor, view and readout; asking
    for another is an error, and so is a trajectory that is not in it.

    Args:
        folder: Holds one target; another view or readout needs a folder of its own.

    Raises:
        ValueError: If the folder has no name.
    """
    if not str(folder):
        raise ValueError("A cached target needs the name of a folder, got none.")
    return TargetPolicy(weights="cached", folder=str(folder))


Readout = Literal["last_token", "last_pred", "turn_end", "mean"]
READOUTS: tuple[Readout, ...] = ("last_token", "last_pred", "turn_end", "mean")
REGIONS = ("supervised", "trajectory", "all")  # of every view; see ``View.regions`` for those of some


@final
@dataclass(frozen=True)
class Slots:
    """Soft tokens: learned inputs that a predictor places into a view.

    Args:
        owner: Name of the term whose predictor owns them; views with slots of different owners are never the same.
        count: Number of slots.
    """

    owner: str
    count: int


@final
@dataclass(frozen=True)
class Request:
    """One view that is to be encoded, and which of its states are read.

    Args:
        view: Which turns.
        at: Where states are read. One state per example: ``last_token`` (last content token of the last turn),
            ``last_pred`` (last slot), ``turn_end`` (the template's end-of-turn token after them), ``mean`` (over the
            content tokens). Many states per example, a region: ``supervised`` (each supervised token, with the state
            that predicts it), ``trajectory`` (T's tokens), ``all``, or a region that the view itself offers, such as
            ``latents`` and ``before_latents`` of a ``LatentConversation``.
        policy: Which weights encode the view, and whether gradient flows.
        slots: Learned inputs placed into the view, or None.

    Raises:
        ValueError: If the view does not offer what is asked of it.
    """

    view: View
    at: str = "all"
    policy: TargetPolicy = field(default_factory=with_gradient)
    slots: Slots | None = None

    def __post_init__(self) -> None:
        offered = (*READOUTS, *REGIONS, *self.view.regions)
        if self.at not in offered:
            raise ValueError(f"{self.view!r} can be read at {', '.join(offered)}; got {self.at!r}.")
        if self.slots is not None and not self.view.slots_allowed:
            raise ValueError(
                f"{self.view!r} has no place for learned slots; a predictor with slots needs views.Question()."
            )
        if self.view.is_trained and not self.policy.gradient:
            raise ValueError(f"A {type(self.view).__name__} is encoded with gradient; as a target read another view.")
        if self.at == "last_pred" and self.slots is None:
            raise ValueError("'last_pred' needs a predictor with slots; without slots read 'last_token'.")

    @cached_property
    def reads_one(self) -> bool:
        """Whether one state is read of each example."""
        return self.at in READOUTS

    @cached_property
    def encoding(self) -> Request:
        """The request for all states of the same encoded view: requests with equal encodings share one pass."""
        return replace(self, at="all")
