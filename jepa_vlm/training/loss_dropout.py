"""Loss dropout: terms that a share of the optimiser steps leaves out, with the views that they alone need.

LLM-JEPA (arXiv:2509.14252, section 5.2) draws for each micro-batch and on each process; here the whole step is in or
out, so that its normalisers are those of one batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from jepa_vlm.serialization import Collator
from jepa_vlm.training.order import MicroBatch


@final
@dataclass(frozen=True)
class LossDropout:
    """Decides what a step leaves out, from the seed and the step alone: the same on every process, also when resumed.

    One draw serves all terms, so that terms of the same share are left out together and what they share is saved.

    Args:
        shares: By term: the share of steps without it.
        seed: Of the draws.
    """

    shares: Mapping[str, float]
    seed: int

    def skipped(self, step: int) -> frozenset[str]:
        """Return the terms that a step (counted from 0) leaves out."""
        digest = hashlib.sha256(f"loss dropout {self.seed} {step}".encode()).digest()
        draw = int.from_bytes(digest[:8], "big") / 2**64
        return frozenset(name for name, share in self.shares.items() if draw < share)


@final
@dataclass(frozen=True)
class TrainCollator:
    """Makes the batch of a micro-batch, without the terms that its step leaves out. Picklable.

    Args:
        collator: The model's.
        dropout: Decides what is left out.
    """

    collator: Collator
    dropout: LossDropout

    def __call__(self, items: Sequence[MicroBatch]) -> dict[str, Any]:
        """Return the batch of the one micro-batch that the loader hands over."""
        (micro_batch,) = items
        return self.collator(
            micro_batch.trajectories,
            without=self.dropout.skipped(micro_batch.step),
            sources=micro_batch.sources,
            of=micro_batch.of,
        )
