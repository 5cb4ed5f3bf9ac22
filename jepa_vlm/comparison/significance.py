"""Statistics of accuracies: differences over items and seeds, their intervals and tests, and what a test could find.

Differences are paired item by item. Two arms answer the same I items with S seeds each; ``d[s, i]`` is 1 where only the
first is right, -1 where only the second is, else 0. Both intervals are about the mean of d. The first (``over_items``)
asks what other items would give with these very checkpoints; the second (``over_seeds_and_items``), what other items
and other seeds would give.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from jepa_vlm.errors import missing_extra

ALPHA, POWER = 0.05, 0.8  # of the smallest difference that a test finds, before Holm's correction
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
    """A difference over seeds and items with its test; arrays have one entry for each table that was given.

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
    half = float(_scipy().t.ppf(0.975, sample.size - 1) * sample.std(ddof=1) / np.sqrt(sample.size))
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
    half = _scipy().t.ppf(0.975, s - 1) * error
    p_value = np.where((error == 0) & (mean != 0), 2.0 ** (1 - i), 2 * _scipy().t.sf(t, s - 1))
    return SeedsTest(mean, error, s - 1, p_value, mean - half, mean + half)


def _table(marks: Any) -> Floats:
    table = np.asarray(marks, dtype=np.float64)
    if table.ndim < 2 or 0 in table.shape:
        raise ValueError(f"Marks must be a table of seeds and items, at least one of each; got shape {table.shape}.")
    return table


@final
@dataclass(frozen=True)
class Spread:
    """Mean and spread of one value for each seed.

    Args:
        mean: Mean of the values.
        std: Their standard deviation, with n - 1; None for a single value.
        min, max: Smallest and largest value.
    """

    mean: float
    std: float | None
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of some values.

        Raises:
            ValueError: If there is no value.
        """
        if not values:
            raise ValueError("A spread needs at least one value, got none.")
        return cls(fmean(values), stdev(values) if len(values) > 1 else None, min(values), max(values))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the adjusted p-values, in the order given.

    The smallest of m is multiplied by m, the next one by m - 1, and so on; none falls below one before it, and none
    exceeds 1. Whatever the tests have to do with each other, the chance of any false alarm at ``adjusted <= alpha`` is
    at most alpha.

    Raises:
        ValueError: If a value is not a probability.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6 (1979), 65-70.
    """
    if any(not 0 <= p <= 1 for p in p_values):
        raise ValueError(f"p-values must lie in [0, 1], got {list(p_values)}.")
    adjusted, floor = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = floor
    return adjusted


def detectable_by_mcnemar(n: int, discordant: int, *, alpha: float = ALPHA, power: float = POWER) -> float | None:
    """Return the smallest difference of accuracy that McNemar's test finds on ``n`` items with the given power.

    The solution for the difference of n = (z_alpha sqrt(psi) + z_beta sqrt(psi - difference^2))^2 / difference^2, with
    psi the share of items that one alone gets right; never more than psi, which no difference can exceed.

    Args:
        n: Items.
        discordant: Items that one of the two alone got right.
        alpha, power: Significance level and power of the test.

    Returns:
        None if nothing was discordant, which says nothing about how much would be.

    Raises:
        ValueError: If there are no items, or more discordant ones than items.

    Source: R. J. Connor, Sample size for testing differences in proportions for the paired-sample design, Biometrics 43
    (1987), 207-211.
    """
    if n < 1 or not 0 <= discordant <= n:
        raise ValueError(f"discordant must lie in 0..n and n be at least 1, got {discordant} of {n}.")
    if not discordant:
        return None
    normal, share = _scipy().norm, discordant / n
    z_alpha, z_beta = float(normal.ppf(1 - alpha / 2)), float(normal.ppf(power))
    # z_beta^2 (psi - D^2) = (sqrt(n) D - z_alpha sqrt(psi))^2, a quadratic in D, whose larger root has the right signs
    a, b, c = n + z_beta**2, -2 * math.sqrt(n * share) * z_alpha, share * (z_alpha**2 - z_beta**2)
    if (inside := b * b - 4 * a * c) < 0:  # up to three items: no difference is found that often
        return share
    return min((-b + math.sqrt(inside)) / (2 * a), share)


def detectable_by_t(error: float, df: int, *, alpha: float = ALPHA, power: float = POWER) -> float:
    """Return the smallest difference that a two-sided t test finds with the given power.

    Args:
        error: Standard error of the difference.
        df: Degrees of freedom.
        alpha, power: Significance level and power of the test.

    Raises:
        ValueError: If the error is negative, or there is no degree of freedom.
    """
    if error < 0 or df < 1:
        raise ValueError(f"error must not be negative and df be at least 1, got {error} and {df}.")
    from scipy.optimize import brentq

    stats = _scipy()
    critical = float(stats.t.ppf(1 - alpha / 2, df))

    def missing(shift: float) -> float:  # the other tail is next to nothing where the power is not
        return float(stats.nct.sf(critical, df, shift)) - power

    most = critical + float(stats.norm.ppf(power)) + 1
    while missing(most) < 0:
        most *= 2
    return error * float(brentq(missing, 0.0, most))


def _scipy() -> Any:
    """Return scipy.stats.

    Raises:
        JepaVLMError: If scipy is not installed.
    """
    try:
        from scipy import stats
    except ImportError:
        raise missing_extra("scipy", "eval", "Statistics of a comparison") from None
    return stats
