"""Micro-batches by tokens instead of examples.

Examples are taken in the run's order until the next one would exceed the budget. Nothing is padded, so a budget that is
not quite filled wastes no computation; and sums are divided by counts over the whole step, so that the losses do not
depend on where the cuts fall. fairseq calls the budget ``--max-tokens``, NeMo ``batch_tokens``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, count, islice
from typing import final

import torch
from torch.utils.data import DataLoader

from jepa_vlm.engine import Collator
from jepa_vlm.training.order import Passes
from jepa_vlm.trajectories import Trajectory


@final
@dataclass(frozen=True)
class Filling:
    """How a budget cuts the first pass over the training set.

    Args:
        budget: Most tokens of a micro-batch.
        micro_batches: How many there are.
        examples: How many they hold together.
        share: Of the budget, filled on average.
        too_long: Examples longer than the budget; each is a micro-batch of its own.
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
        micro_batches: How many the run needs.
        batch_size: Examples of each, without a budget.
        tokens: Of each example, for a budget.
        budget: Most tokens of a micro-batch, or None.
    """
    if budget is None or tokens is None:
        return range(0, (micro_batches + 1) * batch_size, batch_size)
    return cut(passes, tokens, budget=budget, micro_batches=micro_batches)


def cut(passes: Passes, tokens: Sequence[int], *, budget: int, micro_batches: int) -> list[int]:
    """Return the position at which each micro-batch of a run begins, and the one at which the last ends.

    Args:
        passes: The order of the examples.
        tokens: Of each example.
        budget: Most tokens of a micro-batch; an example that is longer is one of its own.
        micro_batches: How many the run needs.
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
