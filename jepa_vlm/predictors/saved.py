"""Heads as JSON values, as checkpoints and exported folders store them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from jepa_vlm.errors import UnknownNameError
from jepa_vlm.predictors.gated import GatedPredictor
from jepa_vlm.predictors.mlp import MLPPredictor

Head = GatedPredictor | MLPPredictor

HEADS: dict[str, type[Head]] = {kind.__name__: kind for kind in (GatedPredictor, MLPPredictor)}
KIND = "kind"


def describe_head(head: nn.Module) -> dict[str, Any]:
    """Return the name of a head's class and its arguments.

    Raises:
        ValueError: If the class is not one of ``HEADS``, so that ``build_head`` could not build it again.
    """
    kind = type(head).__name__
    if not isinstance(head, (GatedPredictor, MLPPredictor)):
        raise ValueError(f"A head that latent decoding applies must be one of {', '.join(HEADS)}; got {kind}.")
    return {KIND: kind, **head.arguments}


def build_head(described: Mapping[str, Any]) -> Head:
    """Return the head that ``describe_head`` described, without weights.

    Raises:
        UnknownNameError: If there is no such class.
        TypeError, ValueError: If the arguments do not fit it.
    """
    kind = described[KIND]
    if kind not in HEADS:
        raise UnknownNameError("head", kind, known=HEADS)
    return HEADS[kind](**{name: value for name, value in described.items() if name != KIND})
