"""How a model that thinks in latent slots answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, final

ENTRIES, LEAVES, CONTROLS = ("forced", "model"), ("count", "end"), ("none", "noise", "dropped")


@final
@dataclass(frozen=True, kw_only=True)
class LatentDecoding:
    """Latent feedback: behind START the last state is fed as the next input, some times over; then come END and words.

    Args:
        steps: States that are fed back for each look; 0 is plain generation.
        start, end: START and END, as in the training's ``LatentConversation``.
        after: Words that END brings along, likewise.
        leave: When a look ends: after ``steps`` (``count``), or as soon as END is the likeliest token, at the latest
            then (``end``). LVR's code leaves what follows the last step to the model; here END always does.
        entry: ``forced``: every answer begins with a look. ``model``: it looks when it writes START; a model that never
            does answers directly. Either way a later START begins another look.
        control: What is fed in the states' place: ``none`` (themselves), ``noise`` (Gaussian vectors of their length),
            or nothing at all (``dropped``: END follows START).
        seed: Of the noise.
        head: What a state passes through before it is fed, as ``predictors.saved`` describes it; None feeds the state
            itself. A recipe sets it to the head of its objective's reconstruction: what is fed is what the loss
            compared.

    Raises:
        ValueError: If a value is out of its range.
    """

    steps: int = 8
    start: str = "<|latent_start|>"
    end: str = "<|latent_end|>"
    after: str = "\n"
    leave: Literal["count", "end"] = "count"
    entry: Literal["forced", "model"] = "forced"
    control: Literal["none", "noise", "dropped"] = "none"
    seed: int = 0
    head: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.steps, int) or isinstance(self.steps, bool) or self.steps < 0:
            raise ValueError(f"steps must be a whole number of at least 0, got {self.steps!r}.")
        for name, known in (("entry", ENTRIES), ("leave", LEAVES), ("control", CONTROLS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}; got {getattr(self, name)!r}.")

    def __str__(self) -> str:
        """Return the words that a protocol records."""
        many = (
            f"{self.steps} latent steps" if self.leave == "count" else f"latent steps until END, at most {self.steps}"
        )
        through = "" if self.head is None else f", through {self.head['kind']}"
        return f"{many}, entry {self.entry}{through}" + ("" if self.control == "none" else f", control {self.control}")
