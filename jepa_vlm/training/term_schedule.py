"""Which terms a step computes: those of its stage, less what loss dropout leaves out.

LLM-JEPA (arXiv:2509.14252, section 5.2) draws for each micro-batch and on each process; here the whole step is in or
out, so that its normalisers are those of one batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from jepa_vlm.engine import Batch, Collator
from jepa_vlm.recipe import Stage
from jepa_vlm.recipe.stage import stage_at
from jepa_vlm.terms import Objective
from jepa_vlm.training.order import MicroBatch


@final
@dataclass(frozen=True)
class LossDropout:
    """Decides what a step leaves out, from the seed and the step alone: the same on every process, also when resumed.

    One draw serves all terms, so that terms of the same share are left out together and what they share is saved.

    Args:
        shares: Each term's share of steps without it.
        seed: Random seed for the draws.
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
class TermSchedule:
    """Decides from the step alone, so that every process and a resumed run decide alike.

    Args:
        terms: The objective's.
        stages: Stages of the recipe; none computes all terms throughout.
        steps: Number of optimiser steps.
        dropout: Terms that are left out within a stage.
    """

    terms: tuple[str, ...]
    stages: tuple[Stage, ...]
    steps: int
    dropout: LossDropout

    @classmethod
    def of(cls, objective: Objective, *, stages: Sequence[Stage], steps: int, seed: int) -> TermSchedule:
        """Return the schedule of a run."""
        shares = {term.name: term.loss_dropout for _, term in objective.parts()}
        return cls(tuple(shares), tuple(stages), steps, LossDropout(shares, seed))

    def never(self) -> list[str]:
        """Return the terms that no step of the run computes."""
        waiting = set(self.terms)
        for step in range(self.steps):
            if not (waiting := waiting & self.skipped(step)):
                break
        return [name for name in self.terms if name in waiting]

    def outside(self, step: int) -> frozenset[str]:
        """Return the terms that are not of the stage of a step, counted from 0."""
        if not self.stages:
            return frozenset()
        return frozenset(self.terms) - set(self.stages[stage_at(self.stages, step, self.steps)].terms)

    def skipped(self, step: int) -> frozenset[str]:
        """Return the terms that a step leaves out for either reason."""
        return self.outside(step) | self.dropout.skipped(step)

    def begins_anew(self, step: int) -> bool:
        """Say whether a step, counted from 0, is the first of a stage whose optimiser starts new."""
        if not self.stages or not step:
            return False
        before, now = (stage_at(self.stages, at, self.steps) for at in (step - 1, step))
        return before != now and self.stages[now].optimizer == "new"

    @property
    def last(self) -> tuple[str, ...]:
        """The terms of the last stage, whose held-out loss chooses the best checkpoint."""
        return self.stages[-1].terms if self.stages else self.terms


@final
@dataclass(frozen=True)
class TrainCollator:
    """Makes the batch of a micro-batch, without the terms that its step leaves out. Picklable.

    Args:
        collator: The model's.
        schedule: Decides what is left out.
    """

    collator: Collator
    schedule: TermSchedule

    def __call__(self, items: Sequence[MicroBatch]) -> Batch:
        """Return the batch of the one micro-batch that the loader hands over."""
        (micro_batch,) = items
        return self.collator(
            micro_batch.trajectories,
            without=self.schedule.skipped(micro_batch.step),
            sources=micro_batch.sources,
            of=micro_batch.of,
        )
