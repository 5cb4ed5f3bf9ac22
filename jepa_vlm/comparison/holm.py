"""Holm's correction: p-values of a family of tests, raised so that one false alarm in the family is as rare as said."""

from __future__ import annotations

from collections.abc import Sequence


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
