"""How much of a step a GPU spends waiting for work, read off the profiler's timeline."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from jepa_vlm.bench.phases import PhaseMeter
from jepa_vlm.bench.step import Step
from jepa_vlm.bench.timing import clock_of
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

Span = tuple[int, int]  # begin and end, in nanoseconds


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

    Profiling slows the host down, so that the share is an upper bound where launching operations sets the pace.
    """
    device = step.setting.device
    if device.type != "cuda":
        return None
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        step.run(PhaseMeter(backbone=step.setting.backbone, gauge=clock_of(device)))
        torch.cuda.synchronize()
    return idle_share(spans_of(profiler.profiler.kineto_results.events()))


def spans_of(events: Iterable[Any]) -> list[Span]:
    """Return when kernels, copies and fills ran on a GPU; annotations, which cover many of them, are left out."""
    return [
        (event.start_ns(), event.end_ns())
        for event in events
        if event.device_type() == DeviceType.CUDA and not event.is_user_annotation()
    ]
