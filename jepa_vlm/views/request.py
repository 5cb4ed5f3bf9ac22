"""What an objective asks of a view: plain data, enough for the planner to choose the cheapest exact rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, final

from jepa_vlm.views.latent_conversation import LatentConversation
from jepa_vlm.views.padded import PaddedConversation
from jepa_vlm.views.policy import TargetPolicy, with_gradient
from jepa_vlm.views.view import View

Readout = Literal["last_token", "last_pred", "turn_end", "mean"]
Region = Literal["supervised", "trajectory", "all", "before_latents", "latents", "pads"]
READOUTS: tuple[Readout, ...] = ("last_token", "last_pred", "turn_end", "mean")
REGIONS: tuple[Region, ...] = ("supervised", "trajectory", "all", "before_latents", "latents", "pads")


@final
@dataclass(frozen=True)
class Slots:
    """Learned inputs that a predictor places into a view.

    Args:
        owner: Name of the term whose predictor owns them; views with slots of different owners are never the same.
        count: How many.
    """

    owner: str
    count: int


@final
@dataclass(frozen=True)
class ViewRequest:
    """One view that an objective wants encoded, and which of its states it reads.

    Args:
        view: Which turns.
        policy: Which weights encode it and whether gradient flows.
        readout: One state per example: ``last_token`` (last content token of the last turn), ``last_pred`` (last slot),
            ``turn_end`` (the template's end-of-turn token after them), ``mean`` (over the content tokens).
        region: Many states per example: ``supervised`` (each supervised token, with the state that predicts it),
            ``trajectory`` (T's tokens), ``all``, ``latents`` (each latent slot, with its own state),
            ``before_latents`` (each latent slot, with the state of the token before it) or ``pads`` (of a
            ``PaddedConversation``).
        slots: Learned inputs placed into the view, or None.
    """

    view: View
    policy: TargetPolicy = field(default_factory=with_gradient)
    readout: Readout | None = None
    region: Region | None = None
    slots: Slots | None = None

    def __post_init__(self) -> None:
        if (self.readout is None) == (self.region is None):
            raise ValueError(f"A request reads either a readout or a region; got {self.readout=} and {self.region=}.")
        if self.readout is not None and self.readout not in READOUTS:
            raise ValueError(f"readout must be one of {', '.join(READOUTS)}; got {self.readout!r}.")
        if self.region is not None and self.region not in REGIONS:
            raise ValueError(f"region must be one of {', '.join(REGIONS)}; got {self.region!r}.")
        if self.slots is not None and not self.view.slots_allowed:
            raise ValueError(
                f"{self.view!r} has no place for learned slots; a predictor with slots needs views.Question()."
            )
        latent = isinstance(self.view, LatentConversation)
        if latent and not self.policy.gradient:
            raise ValueError("A LatentConversation is encoded with gradient; as a target read another view.")
        if self.region in ("before_latents", "latents") and not latent:
            raise ValueError(f"{self.view!r} has no latent slots to read; use views.LatentConversation(...).")
        if self.region == "pads" and not isinstance(self.view, PaddedConversation):
            raise ValueError(f"{self.view!r} has no pads; read them of a views.PaddedConversation.")
        if self.policy.weights == "cached" and (self.region is not None or self.slots is not None):
            raise ValueError("A cached view is stored as one state per example, without learned slots.")
        if self.readout == "last_pred" and self.slots is None:
            raise ValueError("readout 'last_pred' needs a predictor with slots; without slots read 'last_token'.")

    @property
    def encoding(self) -> Encoding:
        """What has to be encoded, whatever is read of it."""
        return Encoding(self.view, self.policy, self.slots)


@final
@dataclass(frozen=True)
class Encoding:
    """One view under one policy with one predictor's slots: what engines compute."""

    view: View
    policy: TargetPolicy
    slots: Slots | None = None
