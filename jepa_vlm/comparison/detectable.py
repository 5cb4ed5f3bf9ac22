"""The smallest true difference that a test finds four times in five: what a table of this size could show at all.

Before Holm's correction, at a two-sided level of 0.05.
"""

from __future__ import annotations

import math
from typing import Any

from jepa_vlm.errors import missing_extra

ALPHA, POWER = 0.05, 0.8


def detectable_by_mcnemar(n: int, discordant: int, *, alpha: float = ALPHA, power: float = POWER) -> float | None:
    """Return the smallest difference of accuracy that McNemar's test finds on ``n`` items with the given power.

    The solution for the difference of n = (z_alpha sqrt(psi) + z_beta sqrt(psi - difference^2))^2 / difference^2, with
    psi the share of items that one alone gets right; never more than psi, which no difference can exceed.

    Args:
        n: Items.
        discordant: Items that one of the two alone got right.
        alpha, power: Of the test.

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
    normal, share = _stats().norm, discordant / n
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
        alpha, power: Of the test.

    Raises:
        ValueError: If the error is negative, or there is no degree of freedom.
    """
    if error < 0 or df < 1:
        raise ValueError(f"error must not be negative and df be at least 1, got {error} and {df}.")
    from scipy.optimize import brentq

    stats = _stats()
    critical = float(stats.t.ppf(1 - alpha / 2, df))

    def missing(shift: float) -> float:  # the other tail is next to nothing where the power is not
        return float(stats.nct.sf(critical, df, shift)) - power

    most = critical + float(stats.norm.ppf(power)) + 1
    while missing(most) < 0:
        most *= 2
    return error * float(brentq(missing, 0.0, most))


def _stats() -> Any:
    try:
        from scipy import stats
    except ImportError:
        raise missing_extra("scipy", "eval", "Statistics of a comparison") from None
    return stats
