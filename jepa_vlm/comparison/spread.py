"""Accuracies over seeds: their mean and how far apart they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import final


@final
@dataclass(frozen=True)
class Spread:
    """One value for each seed, summed up.

    Args:
        mean: Of the values.
        std: Their standard deviation, with n - 1; None for a single one.
        min, max: Least and most.
    """

    mean: float
    std: float | None
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Sum up.

        Raises:
            ValueError: If there is no value.
        """
        if not values:
            raise ValueError("A spread needs at least one value, got none.")
        return cls(fmean(values), stdev(values) if len(values) > 1 else None, min(values), max(values))
