"""The middle of a sample of times, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import final

NORMAL = 1.4826  # a normal distribution's standard deviation over its median absolute deviation
OF_MEDIAN = math.sqrt(math.pi / 2)  # standard error of a normal sample's median over its mean's


@final
@dataclass(frozen=True)
class Spread:
    """A sample's middle.

    Args:
        median: Half of the sample lies below.
        low, high: 10th and 90th percentile.
        error: Robust standard error of the median: 1.2533 x 1.4826 x median absolute deviation / sqrt(n).
        n: Size of the sample.
    """

    median: float
    low: float
    high: float
    error: float
    n: int

    @classmethod
    def of(cls, sample: Sequence[float]) -> Spread:
        """Summarise a sample.

        Raises:
            ValueError: If it is empty.
        """
        if not sample:
            raise ValueError("A sample needs at least one value, got none.")
        middle = median(sample)
        off = median(abs(value - middle) for value in sample)
        tenths = quantiles(sample, n=10, method="inclusive") if len(sample) > 1 else [middle] * 9
        return cls(middle, tenths[0], tenths[8], OF_MEDIAN * NORMAL * off / math.sqrt(len(sample)), len(sample))
