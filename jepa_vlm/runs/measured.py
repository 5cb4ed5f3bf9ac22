"""What a run took of the machine that it ran on."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, final

import torch

from jepa_vlm.bench.machine import machine
from jepa_vlm.runs.environment import device


@final
@dataclass(frozen=True)
class Spent:
    """What training took.

    Args:
        seconds: Wall time.
        measured: See ``measured``.
    """

    seconds: float
    measured: dict[str, Any]


def watch_memory() -> None:
    """Forget what a GPU's allocator held so far."""
    if device().type == "cuda":
        torch.cuda.reset_peak_memory_stats(device())


def measured() -> dict[str, Any]:
    """Return the machine, and the most memory that was held on it so far, with what was watched.

    On a GPU, what torch's allocator held since ``watch_memory``; elsewhere, what the whole process did, libraries and
    data included.
    """
    place = device()
    gpu = place.type == "cuda"
    peak = int(torch.cuda.max_memory_allocated(place)) if gpu else _process_peak()
    return {"machine": machine(place), "peak_memory": peak, "memory": "allocator" if gpu else "process"}


def _process_peak() -> int | None:
    """Return the most bytes that this process had in memory; None where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
