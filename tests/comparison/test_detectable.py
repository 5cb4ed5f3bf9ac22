"""The detectable difference is the one at which the test has the power that it is said to have."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from jepa_vlm.comparison import detectable_by_mcnemar, detectable_by_t


def test_mcnemar_solves_connors_formula():
    found = detectable_by_mcnemar(500, 150)
    z_alpha, z_beta, share = 1.959964, 0.841621, 0.3
    n = (z_alpha * share**0.5 + z_beta * (share - found**2) ** 0.5) ** 2 / found**2
    assert n == pytest.approx(500, rel=1e-5)


@pytest.mark.parametrize("discordant", [60, 150])
def test_the_exact_test_finds_it_about_four_times_in_five(discordant):
    n, share = 500, discordant / 500
    difference, power = detectable_by_mcnemar(n, discordant), 0.0
    for found in range(n + 1):  # how many items are discordant, and how they split: the exact test's own power
        if (weight := float(stats.binom.pmf(found, n, share))) < 1e-9:
            continue
        splits = np.arange(found + 1)
        rejected = np.minimum(1, 2 * stats.binom.cdf(np.minimum(splits, found - splits), found, 0.5)) <= 0.05
        power += weight * float(stats.binom.pmf(splits, found, (1 + difference / share) / 2)[rejected].sum())
    assert 0.75 < power < 0.82


def test_it_never_exceeds_what_is_discordant_and_nothing_discordant_says_nothing():
    assert detectable_by_mcnemar(10, 2) == 0.2
    assert detectable_by_mcnemar(10, 0) is None


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_handful_of_items_shows_nothing_less_than_all_of_it(n):
    assert [detectable_by_mcnemar(n, discordant) for discordant in range(1, n + 1)] == [i / n for i in range(1, n + 1)]


@pytest.mark.parametrize("df", [1, 2, 9])
def test_t_has_that_power_by_the_noncentral_distribution(df):
    found, critical = detectable_by_t(0.02, df) / 0.02, stats.t.ppf(0.975, df)
    assert float(stats.nct.sf(critical, df, found)) == pytest.approx(0.8, abs=1e-6)


def test_t_by_simulation():
    found, rng = detectable_by_t(1.0, 4), np.random.default_rng(0)
    samples = found + 5**0.5 * rng.standard_normal((20_000, 5))
    assert float((stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05).mean()) == pytest.approx(0.8, abs=0.01)


def test_many_degrees_of_freedom_are_the_normal_case():
    assert detectable_by_t(1.0, 100_000) == pytest.approx(1.959964 + 0.841621, abs=1e-3)
    assert detectable_by_t(0.0, 2) == 0.0


def test_what_is_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"0..n"):
        detectable_by_mcnemar(10, 11)
    with pytest.raises(ValueError, match="must not be negative"):
        detectable_by_t(-0.1, 2)
