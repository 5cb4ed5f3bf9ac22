"""Time several steps against each other: round after round in one process, so that a slow minute hits all of them."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import final

import torch

from jepa_vlm.bench.phases import PHASES, CudaClock, Gauge, PhaseMeter, ProcessClock
from jepa_vlm.bench.step import Step


@final
@dataclass
class Timed:
    """What was measured of one step.

    Args:
        seconds: Of each round.
        phases: Likewise, by phase.
        peak: On a GPU: most bytes that the allocator held for the step beyond what it held before.
        loss: Of the last round; guards against timing a wrong step.
        failure: Why it was given up, or "".
    """

    seconds: list[float] = field(default_factory=list)
    phases: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in PHASES})
    peak: int | None = None
    loss: float | None = None
    failure: str = ""


def clock_of(device: torch.device) -> Gauge:
    """Return the clock that fits a device."""
    return CudaClock() if device.type == "cuda" else ProcessClock()


def time_steps(
    steps: Mapping[str, Step],
    *,
    rounds: int,
    warmup: int,
    gauge: Gauge | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Timed]:
    """Run every step in every round, each round beginning with the next one, and return what was measured.

    A step that runs out of memory is given up; the others go on.

    Args:
        steps: By name; of one setting.
        rounds: That count.
        warmup: Rounds before them, which do not.
        gauge: The clock; the device's own if not given.
        say: Told what goes on.

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
