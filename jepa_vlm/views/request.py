"""What an objective asks of a view: plain data, enough for the planner to choose the cheapest exact passes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, final

from jepa_vlm.views.policy import TargetPolicy, with_gradient
from jepa_vlm.views.view import View

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
