"""The order in which a run sees its examples, fixed by the seed alone."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import final

import torch
from torch.utils.data import Dataset

from jepa_vlm.trajectories import Trajectory
from jepa_vlm.trajectories.mixture import Mixture, Source


@final
class Passes(Dataset[Trajectory]):
    """Shuffled passes over a data set, one after another, exactly as long as the run.

    Position i holds the same example however the run is split into micro-batches and processes, and however often it is
    resumed; the last batch of a pass is filled from the next one, so that every optimiser step has the same size.

    A pass over a mixture takes of each source its share, weight times length, of that source's own shuffled passes: a
    weight of 2 shows every example twice, one of 0.5 each half in turn.

    Args:
        examples: The training set, at least one example.
        length: Optimiser steps x examples per step.
        seed: Of the shuffles.

    Raises:
        ValueError: If there are no examples.
    """

    def __init__(self, *, examples: Sequence[Trajectory], length: int, seed: int) -> None:
        if not examples:
            raise ValueError("A run needs at least one training example, got none.")
        self._sources = examples.sources if isinstance(examples, Mixture) else (Source("", examples),)
        self._starts = [0, *accumulate(source.share for source in self._sources)]
        self._length, self._seed = length, seed
        self._orders: dict[tuple[int, ...], tuple[int, list[int]]] = {}

    def __len__(self) -> int:
        return self._length

    @property
    def pass_length(self) -> int:
        """How many examples one pass has."""
        return self._starts[-1]

    def __getitem__(self, position: int) -> Trajectory:
        if not 0 <= position < self._length:
            raise IndexError(f"Position {position} is outside a run of {self._length} examples.")
        number, place = divmod(position, self.pass_length)
        slot = self._order(number, self.pass_length)[place]
        which = bisect_right(self._starts, slot) - 1
        examples, share = self._sources[which].examples, self._sources[which].share
        own, row = divmod(number * share + slot - self._starts[which], len(examples))
        if share % len(examples):  # a pass that ends inside the source's own
            row = self._order(own, len(examples), which)[row]
        return examples[row]

    def _order(self, number: int, size: int, *which: int) -> list[int]:
        """Return pass ``number`` of the mixture, or of one source; the last of each is kept."""
        kept = self._orders.get(which)
        if kept is None or kept[0] != number:
            seed = self._seed * 1_000_003 + number + sum(7_368_787 * (one + 1) for one in which)
            order = torch.randperm(size, generator=torch.Generator().manual_seed(seed)).tolist()
            self._orders[which] = kept = (number, order)
        return kept[1]
