"""What a process is: its rank, its device, its random state. The one place that sets them."""

from __future__ import annotations

import os
import random
import warnings

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

    A tiny backbone gets one thread: its matrices are too small for two to gain much, on a busy machine they wait for
    each other many times longer than they compute, and sums come out the same on every machine. Otherwise the number is
    torch's choice. ``OMP_NUM_THREADS`` overrules both.

    Args:
        seed: Of Python's, numpy's and torch's own generators.
        backbone: Its name.
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


def wait() -> None:
    """Wait for all processes, if there are several."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
