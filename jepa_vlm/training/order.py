"""The order in which a run sees its examples, and the micro-batches that it is cut into: fixed by the seed alone.

Micro-batches hold a number of examples, or as many as a budget of tokens allows: examples are taken in the run's order
until the next one would exceed it. Nothing is padded, so a budget that is not quite filled wastes no computation; and
sums are divided by counts over the whole step, so that the losses do not depend on where the cuts fall. fairseq calls
the budget ``--max-tokens``, NeMo ``batch_tokens``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, count, islice
from typing import final

import torch
from torch.utils.data import DataLoader, Dataset

from jepa_vlm.engine import Collator
from jepa_vlm.trajectories import Trajectory
from jepa_vlm.trajectories.rows import Mixture, Source


@final
class Passes:
    """Shuffled epochs over a data set, one after another, without end.

    Position i holds the same example however the run is split into micro-batches and processes, and however often it is
    resumed; the last batch of a pass is filled from the next one.

    A pass over a mixture takes of each source its share, weight times length, of that source's own shuffled passes: a
    weight of 2 shows every example twice, one of 0.5 each half in turn.

    Args:
        examples: The training set, at least one example; a mixture is mixed by its weights.
        seed: Random seed for the shuffles.

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
        trajectories: The examples.
        sources: The number of each example's source in a mixture; empty without one.
        of: Number of sources in the mixture; 0 without one.
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
        passes: Order in which the training set is seen.
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


@final
@dataclass(frozen=True)
class Filling:
    """How a budget cuts the first pass over the training set.

    Args:
        budget: Most tokens of a micro-batch.
        micro_batches: Number of micro-batches.
        examples: Number of examples in all of them.
        share: Share of the budget that is filled on average.
        too_long: Number of examples longer than the budget; each is a micro-batch of its own.
    """

    budget: int
    micro_batches: int
    examples: int
    share: float
    too_long: int

    @property
    def warning(self) -> str:
        """What a user should know about examples that are too long, or ""."""
        if not self.too_long:
            return ""
        return f"{self.too_long} trajectories have more than {self.budget} tokens; each is a micro-batch of its own"


def count_tokens(collator: Collator, examples: Sequence[Trajectory], *, workers: int = 0) -> list[int]:
    """Return how many tokens the decoder computes for each example, views that share a prefix counted as they are run.

    Images count by the sizes in their headers; none is decoded.
    """
    loader: DataLoader[list[int]] = DataLoader(
        examples,  # type: ignore[arg-type]
        batch_size=64,
        collate_fn=collator.tokens,
        num_workers=workers,
        generator=torch.Generator(),  # its own, so that counting draws nothing from the run's
    )
    return [tokens for counted in loader for tokens in counted]


def micro_batch_starts(
    passes: Passes, *, micro_batches: int, batch_size: int, tokens: Sequence[int] | None, budget: int | None
) -> Sequence[int]:
    """Return the position at which each micro-batch of a run begins, and the one at which the last ends.

    Args:
        passes: The order of the examples.
        micro_batches: Number of micro-batches of the run.
        batch_size: Examples of each, without a budget.
        tokens: Number of tokens of each example, for a budget.
        budget: Most tokens of a micro-batch, or None.
    """
    if budget is None or tokens is None:
        return range(0, (micro_batches + 1) * batch_size, batch_size)
    return cut(passes, tokens, budget=budget, micro_batches=micro_batches)


def cut(passes: Passes, tokens: Sequence[int], *, budget: int, micro_batches: int) -> list[int]:
    """Return the position at which each micro-batch of a run begins, and the one at which the last ends.

    Args:
        passes: The order of the examples.
        tokens: Number of tokens of each example.
        budget: Most tokens of a micro-batch; an example that is longer is one of its own.
        micro_batches: Number of micro-batches of the run.
    """
    lengths = (tokens[passes.at(position)] for position in count())
    sizes = islice(_fill(lengths, budget), micro_batches)
    return list(accumulate((examples for examples, _ in sizes), initial=0))


def filling(passes: Passes, tokens: Sequence[int], *, budget: int) -> Filling:
    """Return how a budget cuts the first pass."""
    filled = [total for _, total in _fill((tokens[passes.at(i)] for i in range(passes.pass_length)), budget)]
    share = sum(min(total, budget) for total in filled) / (budget * len(filled))
    return Filling(budget, len(filled), passes.pass_length, round(share, 4), sum(length > budget for length in tokens))


def _fill(lengths: Iterable[int], budget: int) -> Iterator[tuple[int, int]]:
    """Yield each micro-batch's number of examples and of tokens."""
    examples = total = 0
    for length in lengths:
        if examples and total + length > budget:
            yield examples, total
            examples = total = 0
        examples, total = examples + 1, total + length
    yield examples, total
