from __future__ import annotations

import pytest

from jepa_vlm.comparison import holm


def test_a_worked_family():
    # sorted 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1, each no less than the one before it
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_one_test_is_left_alone_and_none_exceeds_one():
    assert holm([0.2]) == [0.2]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_it_is_statsmodels_own():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p_values = [0.001, 0.2, 0.011, 0.04, 0.04, 0.9]
    assert holm(p_values) == pytest.approx(multitest.multipletests(p_values, method="holm")[1].tolist())


def test_what_is_no_probability_is_refused():
    with pytest.raises(ValueError, match="must lie in"):
        holm([0.5, 1.5])
