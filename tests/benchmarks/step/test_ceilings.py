from __future__ import annotations

import torch

from benchmarks.step.timing import REPEATS, measure_ceilings


class Ticking:
    """A clock that goes on by one second at every other reading."""

    def __init__(self):
        self.readings = 0

    def read(self):
        self.readings += 1
        return self.readings // 2

    def between(self, first, second):
        return second - first


def test_hardware_rates_follow_from_sizes_and_times():
    clock = Ticking()
    found = measure_ceilings(torch.device("cpu"), torch.float32, gauge=clock)
    assert clock.readings == 3 * 2 * (REPEATS + 2)
    assert found.flops == 2 * 1024**3
    assert found.bytes == 2 * 4 * 2**23
    assert found.operation == 1 / 2000
