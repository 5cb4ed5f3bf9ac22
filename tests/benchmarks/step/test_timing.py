"""Rounds, their order, and steps that run out of memory, on a fake clock."""

from __future__ import annotations

import time

import pytest
import torch

from benchmarks.clocks import ProcessClock, clock_of
from benchmarks.step.timing import time_steps


class FakeStep:
    """A step that takes as long as it is told to."""

    def __init__(self, name, setting, clock, seconds, order, fails_in=None):
        self.name, self.setting, self.clock, self.seconds = name, setting, clock, list(seconds)
        self.order, self.fails_in, self.released = order, fails_in, False

    def run(self, meter):
        self.order.append(self.name)
        if self.fails_in == self.order.count(self.name):
            raise torch.OutOfMemoryError
        with meter.watching():
            self.clock.now += 1
            meter.mark("backward")
            self.clock.now += self.seconds.pop(0)
            meter.mark("optimizer")
            meter.mark("end")
        return torch.tensor(2.5)

    def release(self):
        self.released = True


@pytest.fixture
def order():
    return []


def test_rounds_are_interleaved_rotated_and_warmed_up(setting, clock, order):
    steps = {name: FakeStep(name, setting, clock, [50, 1, 2, 3], order) for name in "abc"}
    said = []
    found = time_steps(steps, rounds=3, warmup=1, gauge=clock, say=said.append)
    assert "".join(order) == "cab" + "abc" + "bca" + "cab"
    for timed in found.values():
        assert timed.seconds == [2, 3, 4]
        assert timed.phases["backward"] == [1, 2, 3]
        assert timed.phases["losses"] == [1, 1, 1]
        assert timed.loss == 2.5
        assert timed.peak is None
    assert said[-1] == "round 3 of 3"


def test_a_step_that_runs_out_of_memory_is_given_up_and_the_others_go_on(setting, clock, order):
    steps = {
        "good": FakeStep("good", setting, clock, [1] * 3, order),
        "big": FakeStep("big", setting, clock, [1] * 3, order, fails_in=2),
    }
    found = time_steps(steps, rounds=3, warmup=0, gauge=clock)
    assert found["good"].seconds == [2, 2, 2]
    assert found["big"].failure == "out of memory"
    assert found["big"].seconds == found["big"].phases["row"] == []
    assert order.count("big") == 2
    assert steps["big"].released


@pytest.mark.parametrize(("rounds", "warmup"), [(0, 0), (1, -1)])
def test_timing_settings_out_of_range_are_refused(rounds, warmup, setting, clock, order):
    with pytest.raises(ValueError, match="Timing needs steps"):
        time_steps({"a": FakeStep("a", setting, clock, [], order)}, rounds=rounds, warmup=warmup, gauge=clock)
    with pytest.raises(ValueError, match="Timing needs steps"):
        time_steps({}, rounds=1, warmup=0, gauge=clock)


def test_times_on_a_cpu_are_those_of_the_process():
    clock = clock_of(torch.device("cpu"))
    assert isinstance(clock, ProcessClock)
    first = clock.read()
    time.sleep(0.2)  # as if others had the processor
    second = clock.read()
    assert clock.between(first, second) < 0.2
    sum(range(10**6))
    assert clock.between(second, clock.read()) > 0
