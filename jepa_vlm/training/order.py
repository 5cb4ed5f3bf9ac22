"""The order in which a run sees its examples, fixed by the seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch.utils.data import Dataset

from jepa_vlm.trajectories import Trajectory


@final
class Passes(Dataset[Trajectory]):
    """Shuffled passes over a data set, one after another, exactly as long as the run.

    Position i holds the same example however the run is split into micro-batches and processes, and however often it is
    resumed; the last batch of a pass is filled from the next one, so that every optimiser step has the same size.

    Args:
        examples: The training set, at least one.
        length: Optimiser steps x examples per step.
        seed: Of the shuffles.

    Raises:
        ValueError: If there are no examples.
    """

    def __init__(self, *, examples: Sequence[Trajectory], length: int, seed: int) -> None:
        if not examples:
            raise ValueError("A run needs at least one training example, got none.")
        self._examples, self._length, self._seed = examples, length, seed
        self._orders: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, position: int) -> Trajectory:
        if not 0 <= position < self._length:
            raise IndexError(f"Position {position} is outside a run of {self._length} examples.")
        number, place = divmod(position, len(self._examples))
        return self._examples[self._order(number)[place]]

    def _order(self, number: int) -> list[int]:
        if number not in self._orders:
            generator = torch.Generator().manual_seed(self._seed * 1_000_003 + number)
            self._orders = {number: torch.randperm(len(self._examples), generator=generator).tolist()}
        return self._orders[number]
