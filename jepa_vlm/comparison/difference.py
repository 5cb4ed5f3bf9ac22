"""Differences of accuracy, paired item by item: over the items alone, and over seeds and items.

Two arms answer the same I items with S seeds each; ``d[s, i]`` is 1 where only the first is right, -1 where only the
second is, else 0. Both intervals are about the mean of d. The first asks what other items would give with these very
checkpoints; the second, what other items and other seeds would give.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from jepa_vlm.errors import missing_extra

Floats = NDArray[np.float64]


@final
@dataclass(frozen=True)
class Estimate:
    """A mean with its interval.

    Args:
        value: The mean.
        low, high: 95% interval; None where one value leaves none.
    """

    value: float
    low: float | None
    high: float | None


@final
@dataclass(frozen=True)
class SeedsTest:
    """What a difference over seeds and items comes to; arrays have one entry for each table that was given.

    Args:
        value: Mean differences.
        error: Their standard errors.
        df: Degrees of freedom: seeds less one.
        p_value: Two-sided; where no item and no seed differs from another, so that the error is 0, that of a sign test
            on the items.
        low, high: 95% interval.
    """

    value: Floats
    error: Floats
    df: int
    p_value: Floats
    low: Floats
    high: Floats


def mean_interval(values: Any) -> Estimate:
    """Return the mean of a sample with Student's 95% interval; a single value has none.

    Raises:
        JepaVLMError: If scipy is not installed.
    """
    sample = np.asarray(values, dtype=np.float64)
    mean = float(sample.mean())
    if sample.size < 2:
        return Estimate(mean, None, None)
    half = float(student().ppf(0.975, sample.size - 1) * sample.std(ddof=1) / np.sqrt(sample.size))
    return Estimate(mean, mean - half, mean + half)


def over_items(first: Any, second: Any) -> Estimate:
    """Return how much more often the first is right, with Student's 95% interval over the items.

    Args:
        first, second: Whether item i was right with seed s, (seeds items); an item counts with its mean over the seeds,
            so the two may have different numbers of them.

    Raises:
        ValueError: If they are not about the same number of items, at least one.
    """
    one, other = _table(first), _table(second)
    if one.shape[-1] != other.shape[-1]:
        raise ValueError(f"Both must answer the same items, got {one.shape[-1]} and {other.shape[-1]}.")
    return mean_interval(one.mean(axis=-2) - other.mean(axis=-2))


def over_seeds_and_items(first: Any, second: Any) -> SeedsTest:
    """Test a mean difference against what chance in the seeds and in the items makes of it.

    Student's t with seeds - 1 degrees of freedom. The variance is that of a mean over crossed seeds and items, from the
    mean squares of d: (MS_seed + max(MS_item - MS_rest, 0)) / (S I), and at least MS_item / (S I), what the items alone
    give: two seeds that happen to agree are no proof that seeds do not matter. Degrees of freedom are not estimated
    (Satterthwaite): with two or three seeds that rejects true nulls too often.

    Args:
        first, second: Whether item i was right with seed s, (... seeds items): two or more seeds in one of them, row s
            of both made with the same seed. One that has a single row, a model that no seed decides, is held against
            every row of the other.

    Raises:
        ValueError: If the shapes do not fit, or both have one seed: then test the two checkpoints with McNemar's test.
    """
    one, other = _table(first), _table(second)
    seeds = {table.shape[-2] for table in (one, other)} - {1}
    if len(seeds) != 1 or one.shape[-1] != other.shape[-1]:
        raise ValueError(
            f"Tables of seeds and items must fit, with two seeds or more; got {one.shape[-2:]} and {other.shape[-2:]}."
        )
    d = one - other
    s, i = d.shape[-2:]
    mean, by_seed, by_item = d.mean((-2, -1)), d.mean(-1), d.mean(-2)
    ms_seed = i * np.square(by_seed - mean[..., None]).sum(-1) / (s - 1)
    ms_item = s * np.square(by_item - mean[..., None]).sum(-1) / max(i - 1, 1)
    rest = d - by_seed[..., None] - by_item[..., None, :] + mean[..., None, None]
    ms_rest = np.square(rest).sum((-2, -1)) / max((s - 1) * (i - 1), 1)
    variance = np.maximum(ms_seed + np.maximum(ms_item - ms_rest, 0), ms_item) / (s * i)
    error = np.sqrt(variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(mean == 0, 0.0, np.abs(mean) / error)
    half = student().ppf(0.975, s - 1) * error
    p_value = np.where((error == 0) & (mean != 0), 2.0 ** (1 - i), 2 * student().sf(t, s - 1))
    return SeedsTest(mean, error, s - 1, p_value, mean - half, mean + half)


def student() -> Any:
    """Return scipy's t distribution.

    Raises:
        JepaVLMError: If scipy is not installed.
    """
    try:
        from scipy.stats import t
    except ImportError:
        raise missing_extra("scipy", "eval", "Statistics of a comparison") from None
    return t


def _table(marks: Any) -> Floats:
    table = np.asarray(marks, dtype=np.float64)
    if table.ndim < 2 or 0 in table.shape:
        raise ValueError(f"Marks must be a table of seeds and items, at least one of each; got shape {table.shape}.")
    return table
