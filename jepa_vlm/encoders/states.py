"""What the engines hand to the terms: decoder states, filed by what was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from jepa_vlm.typing import HeadWeight, Hidden, Latent, TokenIds
from jepa_vlm.views import ViewRequest

AHEAD = "ahead"  # a batch's key to its ``Ahead``


@final
@dataclass(frozen=True)
class RowStates:
    """Tokens of one computed row.

    Args:
        hidden: ``last_hidden_state`` after the final norm.
        inputs: What the decoder was fed.
        targets: What its latent slots stand for, ("slots dim"), in the order of the slots; None without any.
        slot_at: The token of each slot, ascending.
    """

    hidden: Hidden
    inputs: Hidden
    targets: Hidden | None = None
    slot_at: Tensor | None = None

    def targets_at(self, places: Tensor) -> Hidden:
        """Return what the latent slots at these places stand for; of no places, nothing."""
        if self.targets is None or self.slot_at is None:
            return self.inputs[:0]
        return self.targets[torch.searchsorted(self.slot_at, places)]

    def at(self, places: Tensor) -> RowStates:
        """Return the tokens at these places, in this order."""
        return RowStates(self.hidden[places], self.inputs[places])


@final
@dataclass(frozen=True)
class Ahead:
    """What was computed of a batch before its turn.

    Args:
        features: Of its images.
        read: By the number of the read: the states that it asks for, of a row without gradient.
    """

    features: Hidden
    read: Mapping[int, RowStates]


@final
@dataclass(frozen=True)
class Head:
    """The language model's output layer: logits = hidden @ weight.T + bias."""

    weight: HeadWeight
    bias: Tensor | None = None


@final
@dataclass(frozen=True)
class RegionStates:
    """States at many positions of one view, all examples of the batch one after another.

    Args:
        hidden: ``last_hidden_state`` after the final norm. For the region ``supervised``: at the position before each
            supervised token, which is the state that predicts it. Else: at the region's own positions.
        labels: The supervised token of each row, -100 where the token is not supervised.
        document: Which example of the batch each row belongs to, ascending.
        inputs: What the decoder was fed at the region's positions (token embeddings, vision features at image tokens);
            None for the region ``supervised``.
        targets: For latent slots, what each stands for, detached; else None.
    """

    hidden: Hidden
    labels: TokenIds
    document: TokenIds
    inputs: Hidden | None = None
    targets: Hidden | None = None


@final
@dataclass(frozen=True)
class States:
    """The states that an objective asked for.

    Args:
        latents: One state per example, by request with a readout.
        regions: States at many positions, by request with a region.
        head: The language model's head.
        beside: By term: the tensors that it reads besides states, see ``Term.beside``.
        by_example: Whether terms are to return their summands too (``TermValue.each``).
    """

    latents: Mapping[ViewRequest, Latent]
    regions: Mapping[ViewRequest, RegionStates]
    head: Head
    beside: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    by_example: bool = False
