from __future__ import annotations

import pytest

from benchmarks.learning.statistics import mean_interval, paired, spread


def test_students_interval_of_a_worked_sample():
    found = mean_interval([1.0, 2.0, 3.0, 4.0])  # std 1.29099, t(0.975, 3) = 3.18245
    assert found["value"] == 2.5
    assert (found["low"], found["high"]) == pytest.approx((2.5 - 2.05426, 2.5 + 2.05426), abs=1e-5)
    assert mean_interval([0.5, 0.5]) == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert mean_interval([0.5]) == {"value": 0.5, "low": None, "high": None}


def test_spread_over_seeds():
    assert spread([0.2, 0.4]) == pytest.approx({"mean": 0.3, "std": 0.1414214, "min": 0.2, "max": 0.4})
    assert spread([0.2])["std"] is None


def test_a_difference_is_paired_by_item_and_averaged_over_seeds():
    arm = [[True, True, False, False], [True, False, True, False]]
    base = [[True, False, False, False]]
    assert paired(arm, base) == mean_interval([0.0, 0.5, 0.5, 0.0])
