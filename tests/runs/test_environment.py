"""A process's random state, threads, rank."""

from __future__ import annotations

import os
import random
import signal
import warnings
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from transformers.utils import logging

import jepa_vlm as jv
from jepa_vlm.errors import RunError
from jepa_vlm.runs import data, training_run
from jepa_vlm.runs.environment import prepare, processes, rank, restored


@pytest.fixture(autouse=True)
def as_it_was():
    with restored():
        yield


def state():
    """Everything of the process that a run could leave behind."""
    return {
        "variables": dict(os.environ),
        "threads": torch.get_num_threads(),
        "deterministic": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        "draws": (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "filters": list(warnings.filters),
        "verbosity": (logging.get_verbosity(), logging.is_progress_bar_enabled()),
    }


@pytest.mark.parametrize("fails", [False, True])
def test_train_leaves_the_process_as_it_found_it(tmp_path, monkeypatch, fails):
    monkeypatch.setattr(data, "TRAIN", 4)
    monkeypatch.setattr(data, "VALIDATION", 2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    torch.set_num_threads(2)
    logging.set_verbosity_warning()
    logging.enable_progress_bar()
    if fails:
        monkeypatch.setattr(training_run, "save_weights", _fail)
    before = state()
    with pytest.raises(RunError, match="no room") if fails else nullcontext():
        jv.train("sft", backbone="tiny-random-qwen2.5-vl", output=tmp_path / "run", steps=1, questions=0)
    assert state() == before


def _fail(*args):
    os.environ["LEFT_BEHIND"] = "1"
    raise RunError("no room")


def draws():
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_the_seed_decides_every_generator():
    prepare(3)
    first = draws()
    prepare(3)
    assert draws() == first
    prepare(4)
    assert all(one != other for one, other in zip(draws(), first, strict=True))
    assert torch.are_deterministic_algorithms_enabled()


def test_a_tiny_backbone_gets_one_thread_unless_the_user_says_otherwise(monkeypatch):
    torch.set_num_threads(2)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    prepare(0, backbone="tiny-random-qwen2.5-vl")
    assert torch.get_num_threads() == 2
    monkeypatch.delenv("OMP_NUM_THREADS")
    prepare(0, backbone="qwen2.5-vl-3b")
    assert torch.get_num_threads() == 2
    prepare(0, backbone="tiny-random-qwen2.5-vl")
    assert torch.get_num_threads() == 1


def test_rank_and_processes_are_torchruns(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert (rank(), processes()) == (0, 1)
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert (rank(), processes()) == (3, 4)
