"""The order in which a run sees its examples, and the micro-batches that it is cut into: fixed by the seed alone."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import final

import torch
from torch.utils.data import Dataset

from jepa_vlm.trajectories import Trajectory
from jepa_vlm.trajectories.rows import Mixture, Source


@final
class Passes:
    """Shuffled passes over a data set, one after another, without end.

    Position i holds the same example however the run is split into micro-batches and processes, and however often it is
    resumed; the last batch of a pass is filled from the next one.

    A pass over a mixture takes of each source its share, weight times length, of that source's own shuffled passes: a
    weight of 2 shows every example twice, one of 0.5 each half in turn.

    Args:
        examples: The training set, at least one example; a mixture is mixed by its weights.
        seed: Of the shuffles.

    Raises:
        ValueError: If there are no examples.
    """

    def __init__(self, *, examples: Sequence[Trajectory], seed: int) -> None:
        if not examples:
            raise ValueError("A run needs at least one training example, got none.")
        self._seed = seed
        self._sources = examples.sources if isinstance(examples, Mixture) else (Source("", examples),)
        self._starts = [0, *accumulate(source.share for source in self._sources)]
        self._numbers = [0, *accumulate(len(source.examples) for source in self._sources)]
        self._orders: dict[tuple[int, ...], tuple[int, list[int]]] = {}

    @property
    def pass_length(self) -> int:
        """How many examples one pass has."""
        return self._starts[-1]

    def at(self, position: int) -> int:
        """Return the number of the example at a position, among all of them."""
        number, place = divmod(position, self.pass_length)
        slot = self._order(number, self.pass_length)[place]
        which = bisect_right(self._starts, slot) - 1
        size, share = len(self._sources[which].examples), self._sources[which].share
        own, row = divmod(number * share + slot - self._starts[which], size)
        if share % size:  # a pass that ends inside the source's own
            row = self._order(own, size, which)[row]
        return self._numbers[which] + row

    def _order(self, number: int, size: int, *which: int) -> list[int]:
        """Return pass ``number`` of the mixture, or of one source; the last of each is kept."""
        kept = self._orders.get(which)
        if kept is None or kept[0] != number:
            seed = self._seed * 1_000_003 + number + sum(7_368_787 * (one + 1) for one in which)
            order = torch.randperm(size, generator=torch.Generator().manual_seed(seed)).tolist()
            self._orders[which] = kept = (number, order)
        return kept[1]


@final
@dataclass(frozen=True)
class MicroBatch:
    """What one forward computes.

    Args:
        step: The optimiser step that it belongs to, counted from 0.
        trajectories: Its examples.
        sources: The number of each example's source in a mixture; empty without one.
        of: How many sources the mixture has; 0 without one.
    """

    step: int
    trajectories: tuple[Trajectory, ...]
    sources: tuple[int, ...] = ()
    of: int = 0


@final
class MicroBatches(Dataset[MicroBatch]):
    """The micro-batches of a whole run, those of all processes: process r of n computes every n-th, from the r-th on.

    Args:
        examples: The training set.
        passes: In which order it is seen.
        starts: The position at which each micro-batch begins, and the one at which the last ends.
        per_step: Micro-batches of an optimiser step, over all processes.
    """

    def __init__(self, *, examples: Sequence[Trajectory], passes: Passes, starts: Sequence[int], per_step: int) -> None:
        self._examples, self._passes, self._starts, self._per_step = examples, passes, starts, per_step

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, number: int) -> MicroBatch:
        if not 0 <= number < len(self):
            raise IndexError(f"Micro-batch {number} is outside a run of {len(self)}.")
        positions = range(self._starts[number], self._starts[number + 1])
        numbers = [self._passes.at(position) for position in positions]
        found, step = tuple(self._examples[i] for i in numbers), number // self._per_step
        if not isinstance(self._examples, Mixture):
            return MicroBatch(step, found)
        return MicroBatch(step, found, tuple(map(self._examples.source_of, numbers)), len(self._examples.sources))

    def passes_until(self, step: int) -> float:
        """Return how often the training set has been seen before a step."""
        return self._starts[step * self._per_step] / self._passes.pass_length
