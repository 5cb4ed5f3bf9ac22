from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from jepa_vlm.contrib.analysis.bootstrap import BootstrapEstimate, bootstrap_mean


def test_the_bootstrap_interval_of_hits_is_the_binomial_interval():
    hits = np.array([1.0] * 30 + [0.0] * 70)
    found = bootstrap_mean(hits, resamples=20000)
    # the sum of a resample is Binomial(100, 0.3)
    assert found.value == 0.3
    assert 100 * found.low == pytest.approx(binom.ppf(0.025, 100, 0.3), abs=1)
    assert 100 * found.high == pytest.approx(binom.ppf(0.975, 100, 0.3), abs=1)


def test_the_bootstrap_interval_depends_on_the_seed_alone():
    values = np.random.default_rng(0).normal(size=50)
    assert bootstrap_mean(values) == bootstrap_mean(values)
    assert bootstrap_mean(values) != bootstrap_mean(values, seed=1)
    low, high = bootstrap_mean(values)[1:]
    assert low < values.mean() < high


def test_equal_values_have_equal_bounds_and_one_value_has_none():
    assert bootstrap_mean(np.zeros(9)) == BootstrapEstimate(0.0, 0.0, 0.0)
    alone = bootstrap_mean(np.array([2.0]))
    assert alone.value == 2.0
    assert math.isnan(alone.low)
    assert math.isnan(alone.high)
    with pytest.raises(ValueError, match="at least one value"):
        bootstrap_mean(np.array([]))
