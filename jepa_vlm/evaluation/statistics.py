"""How sure an accuracy is, and whether two differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

from jepa_vlm.errors import missing_extra


class Interval(NamedTuple):
    """Bounds of a share, both in [0, 1]."""

    low: float
    high: float


@final
@dataclass(frozen=True)
class McNemar:
    """Exact McNemar test of two answerers on the same items.

    Args:
        n: Items.
        only_a, only_b: Items that one alone got right; the others say nothing about a difference.
        p_value: Two-sided: how likely a split at least this uneven is if both are equally good.
    """

    n: int
    only_a: int
    only_b: int
    p_value: float


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Return Wilson's score interval of a share.

    Raises:
        ValueError: If ``n`` is less than 1, or ``successes`` or ``confidence`` is out of range.
        JepaVLMError: If scipy is not installed.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}: no items, no interval.")
    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie in 0..{n}, got {successes}.")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}.")
    found = _binomtest(successes, n).proportion_ci(confidence_level=confidence, method="wilson")
    return Interval(low=float(found.low), high=float(found.high))


def mcnemar_exact(a_correct: Sequence[bool], b_correct: Sequence[bool]) -> McNemar:
    """Test whether two answerers of the same items differ: the split of those that one alone got right is a coin's.

    Args:
        a_correct, b_correct: Whether each got item i right.

    Raises:
        ValueError: If there are no items, or the two lengths differ.
        JepaVLMError: If scipy is not installed.
    """
    if not a_correct or len(a_correct) != len(b_correct):
        raise ValueError(f"Both must answer the same items, at least one; got {len(a_correct)} and {len(b_correct)}.")
    only_a = sum(bool(a and not b) for a, b in zip(a_correct, b_correct, strict=True))
    only_b = sum(bool(b and not a) for a, b in zip(a_correct, b_correct, strict=True))
    split = only_a + only_b
    p_value = float(_binomtest(min(only_a, only_b), split, 0.5).pvalue) if split else 1.0
    return McNemar(n=len(a_correct), only_a=only_a, only_b=only_b, p_value=p_value)


def _binomtest(successes: int, n: int, share: float = 0.5) -> Any:
    try:
        from scipy.stats import binomtest
    except ImportError:
        raise missing_extra("scipy", "eval", "Statistics of an evaluation") from None
    return binomtest(successes, n, share)
