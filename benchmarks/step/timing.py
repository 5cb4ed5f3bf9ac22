"""Time several steps against each other, and measure what the machine could do at best.

All steps run in one process, round after round, so a slow minute of the machine affects all of them.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, final

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.clocks import Gauge, clock_of
from benchmarks.step.training_step import PHASES, PhaseMeter, Step

REPEATS = 9  # repetitions of each ceiling
Span = tuple[int, int]  # begin and end, in nanoseconds


@final
@dataclass
class Timed:
    """The measurements of one step.

    Args:
        seconds: Time of each round.
        phases: Time of each round, by phase.
        peak: On a GPU, the allocator's peak during the step, less what it held before, in bytes.
        loss: Loss of the last round; a guard against timing a wrong step.
        failure: Why the step was given up, or "".
    """

    seconds: list[float] = field(default_factory=list)
    phases: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in PHASES})
    peak: int | None = None
    loss: float | None = None
    failure: str = ""


def time_steps(
    steps: Mapping[str, Step],
    *,
    rounds: int,
    warmup: int,
    gauge: Gauge | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Timed]:
    """Run every step once in every round and return the measurements. Each round starts with another step.

    A step that runs out of memory is given up; the others go on.

    Args:
        steps: The steps of one setting, by name.
        rounds: Number of measured rounds.
        warmup: Number of rounds before the measured ones.
        gauge: The clock; the device's own by default.
        say: Receives a line of progress after each round.

    Raises:
        ValueError: If there is no step, no round, or a negative number of warm-up rounds.
    """
    if not steps or rounds < 1 or warmup < 0:
        raise ValueError(f"Timing needs steps, rounds and no negative warm-up; got {len(steps)}, {rounds}, {warmup}.")
    device = next(iter(steps.values())).setting.device
    gauge = clock_of(device) if gauge is None else gauge
    found = {name: Timed() for name in steps}
    names = list(steps)
    for number in range(-warmup, rounds):
        shift = number % len(names)
        for name in (*names[shift:], *names[:shift]):
            if not found[name].failure:
                _run(steps[name], found[name], gauge, device, counts=number >= 0)
        say(f"round {number + 1} of {rounds}")
    return found


def _run(step: Step, timed: Timed, gauge: Gauge, device: torch.device, *, counts: bool) -> None:
    cuda, before = device.type == "cuda", 0
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    meter = PhaseMeter(backbone=step.setting.backbone, gauge=gauge)
    try:
        loss = step.run(meter)
    except torch.OutOfMemoryError:
        timed.failure = "out of memory"
        timed.seconds.clear()
        timed.phases = {name: [] for name in PHASES}
        step.release()
        gc.collect()
        torch.cuda.empty_cache()
        return
    if cuda:
        torch.cuda.synchronize()
        timed.peak = max(timed.peak or 0, torch.cuda.max_memory_allocated() - before) if counts else None
    if not counts:
        return
    timed.seconds.append(meter.total)
    timed.loss = float(loss)
    for phase, seconds in meter.by_phase().items():
        timed.phases[phase].append(seconds)


@final
@dataclass(frozen=True)
class Ceilings:
    """The speeds that no step of this machine exceeds.

    Args:
        flops: FLOPs a second of a large matrix product in the step's precision.
        bytes: Bytes a second that a large copy reads and writes.
        operation: Seconds of an operation on one number: the cost of a launch.
    """

    flops: float
    bytes: float
    operation: float


def measure_ceilings(device: torch.device, dtype: torch.dtype, *, gauge: Gauge | None = None) -> Ceilings:
    """Measure the ceilings of a device: medians of a few repetitions after a warm-up.

    Args:
        device: Any device but meta.
        dtype: Type of the matrices.
        gauge: The clock; the device's own by default.
    """
    gauge = clock_of(device) if gauge is None else gauge
    big = device.type == "cuda"
    side, count, launches = (8192, 2**28, 2000) if big else (1024, 2**23, 2000)
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    source = torch.zeros(count, device=device)
    target, small = torch.empty_like(source), torch.zeros(1, device=device)

    def launch() -> None:
        for _ in range(launches):
            small.add_(1)

    with torch.no_grad():
        product, copy, launched = (
            _median(run, gauge, device) for run in (lambda: left @ right, lambda: target.copy_(source), launch)
        )
    moved = 2 * source.numel() * source.element_size()
    return Ceilings(2 * side**3 / product, moved / copy, launched / launches)


def _median(run: Callable[[], object], gauge: Gauge, device: torch.device) -> float:
    found = []
    for _ in range(REPEATS + 2):
        first = gauge.read()
        run()
        second = gauge.read()
        if device.type == "cuda":
            torch.cuda.synchronize()
        found.append(gauge.between(first, second))
    return median(found[2:])


def idle_share(spans: Iterable[Span]) -> float | None:
    """Return the share of the time from the first begin to the last end that no span covers; None without spans."""
    ordered = sorted(spans)
    if not ordered:
        return None
    begin, reached, waited = ordered[0][0], ordered[0][1], 0
    for start, end in ordered[1:]:
        waited += max(0, start - reached)
        reached = max(reached, end)
    return waited / (reached - begin) if reached > begin else None


def profile_idle(step: Step) -> float | None:
    """Run a step once under the profiler and return its idle share; None where the device has no timeline.

    Profiling slows the host down, so the share is an upper bound where the time of launches decides.
    """
    device = step.setting.device
    if device.type != "cuda":
        return None
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        step.run(PhaseMeter(backbone=step.setting.backbone, gauge=clock_of(device)))
        torch.cuda.synchronize()
    return idle_share(spans_of(profiler.profiler.kineto_results.events()))


def spans_of(events: Iterable[Any]) -> list[Span]:
    """Return the times of kernels, copies and fills on a GPU, without annotations, which span many of them."""
    return [
        (event.start_ns(), event.end_ns())
        for event in events
        if event.device_type() == DeviceType.CUDA and not event.is_user_annotation()
    ]
