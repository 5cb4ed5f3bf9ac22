from __future__ import annotations

import pytest

from jepa_vlm.comparison import Spread


def test_mean_and_standard_deviation_with_n_minus_one():
    found = Spread.of([0.2, 0.4, 0.9])
    assert (found.mean, found.min, found.max) == (0.5, 0.2, 0.9)
    assert found.std == pytest.approx(((0.09 + 0.01 + 0.16) / 2) ** 0.5)


def test_one_value_has_no_standard_deviation():
    assert Spread.of([0.2]) == Spread(0.2, None, 0.2, 0.2)


def test_no_value_is_refused():
    with pytest.raises(ValueError, match="at least one value"):
        Spread.of([])
