"""What an engine hands to the terms: decoder states, by request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from torch import Tensor

from jepa_vlm.typing import HeadWeight, Hidden, Latent, TokenIds
from jepa_vlm.views import Request


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
        extra: By term: the tensors that it reads besides states, see ``Term.extra_inputs``.
        by_example: Whether terms are to return their summands too (``TermValue.each``).
    """

    latents: Mapping[Request, Latent]
    regions: Mapping[Request, RegionStates]
    head: Head
    extra: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    by_example: bool = False
