"""A process's random state, threads, rank."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from jepa_vlm.runs.environment import prepare, processes, rank


@pytest.fixture(autouse=True)
def restored():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


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
