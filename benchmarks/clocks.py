"""Clocks of the benchmarks, and the middle of a sample of times with its uncertainty."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any, Protocol, final

import torch

NORMAL = 1.4826  # a normal distribution's standard deviation over its median absolute deviation
OF_MEDIAN = math.sqrt(math.pi / 2)  # standard error of a normal sample's median over its mean's
Reading = Any  # a number, or an event on a GPU


class Gauge(Protocol):
    """Something that grows while a step runs: a clock, or a counter."""

    def read(self) -> Reading:
        """Return a reading, without waiting for the device."""

    def between(self, first: Reading, second: Reading) -> float:
        """Return how much the gauge grew between two readings; the device must be synchronized."""


@final
class ProcessClock:
    """Seconds of processor time, summed over the threads of this process. Other processes do not count."""

    def read(self) -> Reading:
        """See ``Gauge.read``."""
        return time.process_time()

    def between(self, first: Reading, second: Reading) -> float:
        """See ``Gauge.between``."""
        return float(second - first)


@final
class CudaClock:
    """Seconds on the GPU, measured by events in its stream. The time that the GPU waits for the host counts."""

    def read(self) -> Reading:
        """See ``Gauge.read``."""
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(self, first: Reading, second: Reading) -> float:
        """See ``Gauge.between``."""
        return float(first.elapsed_time(second)) / 1000


def clock_of(device: torch.device) -> Gauge:
    """Return the clock that fits a device."""
    return CudaClock() if device.type == "cuda" else ProcessClock()


@final
@dataclass(frozen=True)
class Spread:
    """The middle of a sample.

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
            ValueError: If the sample is empty.
        """
        if not sample:
            raise ValueError("A sample needs at least one value, got none.")
        middle = median(sample)
        off = median(abs(value - middle) for value in sample)
        tenths = quantiles(sample, n=10, method="inclusive") if len(sample) > 1 else [middle] * 9
        return cls(middle, tenths[0], tenths[8], OF_MEDIAN * NORMAL * off / math.sqrt(len(sample)), len(sample))
