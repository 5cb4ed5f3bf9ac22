"""The process of a run: its rank, device and random state, which are set and restored here alone; and its machine."""

from __future__ import annotations

import os
import platform
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.utils import logging


def rank() -> int:
    """Return this process's number under torchrun, else 0."""
    return int(os.environ.get("RANK", "0"))


def processes() -> int:
    """Return how many processes torchrun started, or 1."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def device() -> torch.device:
    """Return this process's GPU, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def prepare(seed: int, *, backbone: str = "") -> None:
    """Seed every generator, ask torch for deterministic kernels, and keep transformers' own bars off the screen.

    The same machine with the same versions of the libraries then computes the same numbers. Another machine may not:
    its processor or GPU has other kernels, which add in another order.

    A tiny backbone gets one thread: its matrices are too small for two to gain much, on a busy machine they wait for
    each other many times longer than they compute, and sums do not depend on the number of cores. Otherwise the number
    is torch's choice. ``OMP_NUM_THREADS`` overrules both.

    Args:
        seed: Random seed of the generators of Python, numpy and torch.
        backbone: Name of the backbone.
    """
    if backbone.startswith("tiny") and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`")  # peft asks transformers by the old name


@contextmanager
def restored() -> Iterator[None]:
    """Put back, at the end of the block, whatever of the process a run changes: random states, threads, deterministic
    kernels, environment variables, warning filters, and how much transformers says.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    on_gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    threads, variables = torch.get_num_threads(), dict(os.environ)
    deterministic = torch.are_deterministic_algorithms_enabled()
    warned_only = torch.is_deterministic_algorithms_warn_only_enabled()
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    try:
        with warnings.catch_warnings():
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if on_gpu is not None:
            torch.cuda.set_rng_state_all(on_gpu)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic, warn_only=warned_only)
        os.environ.clear()
        os.environ.update(variables)
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def wait() -> None:
    """Wait for all processes, if there are several."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


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
