from __future__ import annotations

import math
import sys

import pytest

from jepa_vlm.errors import JepaVLMError
from jepa_vlm.evaluation.statistics import McNemar, mcnemar_exact, wilson_interval


def test_wilson_interval_of_eight_hits_in_ten():
    low, high = wilson_interval(8, 10)
    assert (low, high) == (pytest.approx(0.4902, abs=5e-5), pytest.approx(0.9433, abs=5e-5))


def test_wilsons_formula_by_hand():
    z, n, share = 1.959963984540054, 40, 13 / 40
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    interval = wilson_interval(13, 40)
    assert interval.low == pytest.approx(middle - half, abs=1e-12)
    assert interval.high == pytest.approx(middle + half, abs=1e-12)


@pytest.mark.parametrize(("successes", "n"), [(0, 5), (5, 5), (1, 1)])
def test_the_wilson_interval_stays_within_zero_and_one(successes, n):
    interval = wilson_interval(successes, n)
    assert 0 <= interval.low <= successes / n <= interval.high <= 1
    assert interval.low < interval.high


def test_more_confidence_makes_the_wilson_interval_wider():
    assert wilson_interval(8, 10, 0.99).low < wilson_interval(8, 10, 0.95).low


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0), "n must be at least 1, got 0"),
        ((6, 5), r"successes must lie in 0\.\.5, got 6"),
        ((-1, 5), r"successes must lie in 0\.\.5, got -1"),
        ((1, 5, 95.0), r"confidence must lie in \(0, 1\), got 95"),
    ],
)
def test_wilson_checks_its_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        wilson_interval(*arguments)


def test_mcnemar_by_hand():
    # One alone: 1 against 5.  Two-sided: 2 * (C(6,0) + C(6,1)) / 2^6 = 14/64
    a = [True] * 4 + [True] + [False] * 5 + [False] * 2
    b = [True] * 4 + [False] + [True] * 5 + [False] * 2
    assert mcnemar_exact(a, b) == McNemar(n=12, only_a=1, only_b=5, p_value=pytest.approx(14 / 64))
    assert mcnemar_exact(b, a) == McNemar(n=12, only_a=5, only_b=1, p_value=pytest.approx(14 / 64))


def test_mcnemar_p_is_one_for_an_even_split():
    assert mcnemar_exact([True, False], [False, True]).p_value == pytest.approx(1.0)


def test_mcnemar_p_is_one_without_disagreement():
    assert mcnemar_exact([True, False, True], [True, False, True]) == McNemar(n=3, only_a=0, only_b=0, p_value=1.0)


@pytest.mark.parametrize(("a", "b"), [([True], [True, False]), ([], [])])
def test_mcnemar_needs_the_same_items(a, b):
    with pytest.raises(ValueError, match=f"got {len(a)} and {len(b)}"):
        mcnemar_exact(a, b)


def test_without_scipy_the_error_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(JepaVLMError, match=r"needs scipy; install it with: pip install 'jepa-vlm\[eval\]'"):
        wilson_interval(1, 2)
