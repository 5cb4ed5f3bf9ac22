"""A worker outlives everybody's SIGTERM but its parent's."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from torch.utils.data import DataLoader

from jepa_vlm.training.signals import OutlivingSigterm


def told(items):
    return {"process": os.getpid(), "item": items[0]}


def loader():
    return iter(DataLoader(range(100), batch_size=1, num_workers=1, collate_fn=OutlivingSigterm(told)))


def sigterm_from_a_stranger(process):
    stranger = os.posix_spawn("/bin/sh", ["sh", "-c", f"kill -TERM {process}"], dict(os.environ))
    assert os.waitpid(stranger, 0)[1] == 0


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="the system does not tell who sent a signal")
def test_batches_go_on_after_a_strangers_sigterm_and_the_parent_ends_it():
    batches = loader()
    worker = next(batches)["process"]
    assert worker != os.getpid()
    for expected in range(1, 50):
        if expected in (1, 20):
            sigterm_from_a_stranger(worker)
        assert next(batches) == {"process": worker, "item": expected}
    (process,) = batches._workers
    process.terminate()
    process.join(timeout=20)
    assert process.exitcode == 0


def test_the_process_that_trains_keeps_its_own_handling():
    threads = threading.active_count()
    assert OutlivingSigterm(told)([7]) == {"process": os.getpid(), "item": 7}
    assert threading.active_count() == threads
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, set())
