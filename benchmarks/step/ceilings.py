"""What the machine could do at best, measured in the same process: the three roofs under which every step stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import final

import torch
from jepa_vlm.bench.phases import Gauge
from jepa_vlm.bench.timing import clock_of

REPEATS = 9


@final
@dataclass(frozen=True)
class Ceilings:
    """Roofs.

    Args:
        flops: FLOPs a second of a large matrix product in the step's precision.
        bytes: Bytes a second that a large copy reads and writes.
        operation: Seconds of an operation too small to do anything: what launching it costs.
    """

    flops: float
    bytes: float
    operation: float


def measure_ceilings(device: torch.device, dtype: torch.dtype, *, gauge: Gauge | None = None) -> Ceilings:
    """Measure the roofs of a device: the medians of a few repetitions after a warm-up.

    Args:
        device: Not meta.
        dtype: Of the matrices.
        gauge: The clock; the device's own if not given.
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
