"""Target policies: which weights encode a target view, and whether gradient flows into it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, final


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
