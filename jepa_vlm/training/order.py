"""The order in which a run sees its examples, and the micro-batches that it is cut into: fixed by the seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch.utils.data import Dataset

from jepa_vlm.trajectories import Trajectory


@final
class Passes:
    """Shuffled passes over a data set, one after another, without end.

    Position i holds the same example however the run is split into micro-batches and processes, and however often it is
    resumed; the last batch of a pass is filled from the next one.

    Args:
        count: Size of the training set, at least 1.
        seed: Of the shuffles.

    Raises:
        ValueError: If there are no examples.
    """

    def __init__(self, *, count: int, seed: int) -> None:
        if count < 1:
            raise ValueError("A run needs at least one training example, got none.")
        self.count, self._seed = count, seed
        self._orders: dict[int, list[int]] = {}

    def at(self, position: int) -> int:
        """Return the number of the example at a position."""
        number, place = divmod(position, self.count)
        return self._order(number)[place]

    def _order(self, number: int) -> list[int]:
        if number not in self._orders:
            generator = torch.Generator().manual_seed(self._seed * 1_000_003 + number)
            self._orders = {number: torch.randperm(self.count, generator=generator).tolist()}
        return self._orders[number]


@final
@dataclass(frozen=True)
class MicroBatch:
    """What one forward computes.

    Args:
        step: The optimiser step that it belongs to, counted from 0.
        trajectories: Its examples.
    """

    step: int
    trajectories: tuple[Trajectory, ...]


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
        found = tuple(self._examples[self._passes.at(position)] for position in positions)
        return MicroBatch(number // self._per_step, found)

    def passes_until(self, step: int) -> float:
        """Return how often the training set has been seen before a step."""
        return self._starts[step * self._per_step] / len(self._examples)
