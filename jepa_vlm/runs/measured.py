"""The machine that a run runs on, and what the run took of it."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch

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


def machine(device: torch.device) -> dict[str, Any]:
    """Return what decides times on a device: its name, its memory, the host's processor and threads."""
    found: dict[str, Any] = {"kind": device.type, "cpu": cpu_name(), "threads": torch.get_num_threads()}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "gpu": properties.name,
            "gpu_memory": properties.total_memory,
            "capability": list(torch.cuda.get_device_capability(device)),
            "cuda": torch.version.cuda,
        }
    return found


def cpu_name(listing: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name as Linux lists it, else as Python knows it."""
    if listing.is_file():
        for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _process_peak() -> int | None:
    """Return the most bytes that this process had in memory; None where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
