"""A mean over examples with a bootstrap interval."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jepa_vlm.errors import missing_extra

RESAMPLES = 2000


class BootstrapEstimate(NamedTuple):
    """A mean and the bounds of its 95% interval; the bounds are nan where the interval is unknown."""

    value: float
    low: float
    high: float


def bootstrap_mean(values: NDArray[np.float64], *, seed: int = 0, resamples: int = RESAMPLES) -> BootstrapEstimate:
    """Return the mean of one value per example with its 95% percentile interval over resampled examples.

    A single value has a mean and no interval. If all values are equal, the bounds equal them too: resampling zero hits
    of n finds zero hits, which understates the uncertainty.

    Args:
        values: One value per example, at least one.
        seed: Random seed of the resampling.
        resamples: Number of resamples.

    Raises:
        ValueError: If there are no values.
        JepaVLMError: If scipy is not installed.
    """
    if not len(values):
        raise ValueError("A mean needs at least one value, got none.")
    mean = float(np.mean(values))
    if len(values) == 1:
        return BootstrapEstimate(mean, float("nan"), float("nan"))
    try:
        from scipy.stats import bootstrap
    except ImportError:
        raise missing_extra("scipy", "analysis", "An interval") from None
    found = bootstrap(
        (np.asarray(values, dtype=np.float64),),
        np.mean,
        n_resamples=resamples,
        batch=100,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return BootstrapEstimate(mean, float(found.confidence_interval.low), float(found.confidence_interval.high))
