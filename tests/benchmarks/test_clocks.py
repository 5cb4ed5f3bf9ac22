from __future__ import annotations

import math

import pytest
import torch

from benchmarks.clocks import Spread


def test_the_spread_of_times_by_hand():
    found = Spread.of([5.0, 1.0, 2.0, 4.0, 3.0])
    assert found.median == 3
    assert (found.low, found.high) == (pytest.approx(1.4), pytest.approx(4.6))
    assert found.error == pytest.approx(1.2533 * 1.4826 * 1 / math.sqrt(5), rel=1e-4)
    assert found.n == 5


def test_one_slow_round_moves_neither_median_nor_error_far():
    sample = [1.0 + 0.01 * i for i in range(9)]
    calm, disturbed = Spread.of(sample), Spread.of([*sample[:-1], 50.0])
    assert disturbed.median == calm.median
    assert disturbed.error == calm.error


def test_the_error_of_the_median_is_that_of_a_normal_sample():
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(400, 25, generator=generator, dtype=torch.float64)
    errors = [Spread.of(sample.tolist()).error for sample in samples]
    medians = samples.median(dim=1).values
    assert sum(errors) / len(errors) == pytest.approx(float(medians.std()), rel=0.1)


def test_the_spread_of_one_time_is_zero_and_of_none_is_refused():
    assert Spread.of([2.0]) == Spread(2.0, 2.0, 2.0, 0.0, 1)
    with pytest.raises(ValueError, match="at least one value"):
        Spread.of([])
