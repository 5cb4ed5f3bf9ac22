"""Means over seeds, and differences with intervals over items."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from scipy.stats import sem
from scipy.stats import t as student


def mean_interval(values: Sequence[float]) -> dict[str, float | None]:
    """Return the mean of a sample with Student's 95% interval; one value has a mean and no interval."""
    mean = fmean(values)
    if len(values) < 2:
        return {"value": mean, "low": None, "high": None}
    half = float(student.ppf(0.975, len(values) - 1) * sem(values))
    return {"value": mean, "low": mean - half, "high": mean + half}


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """Return mean, standard deviation (with n - 1; None for one value), least and most over seeds."""
    return {
        "mean": fmean(values),
        "std": stdev(values) if len(values) > 1 else None,
        "min": min(values),
        "max": max(values),
    }


def paired(first: Sequence[Sequence[bool]], second: Sequence[Sequence[bool]]) -> dict[str, Any]:
    """Return how much more often the first answers right, paired item by item, with a 95% interval over items.

    Args:
        first, second: For each seed, whether item i was right; an item counts with its mean over the seeds.
    """
    means = [[fmean(item) for item in zip(*runs, strict=True)] for runs in (first, second)]
    return mean_interval([a - b for a, b in zip(*means, strict=True)])
