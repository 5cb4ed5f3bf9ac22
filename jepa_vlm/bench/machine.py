"""Which machine produced a number."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch


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
