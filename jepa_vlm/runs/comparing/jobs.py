"""Commands run beside each other, each in a process of its own that ends when this one does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from jepa_vlm.errors import InterruptedRunError, RunError

WORKER = "jepa_vlm.runs.comparing.worker"
PAUSE = 0.1  # seconds between two looks at the processes


@final
@dataclass(frozen=True)
class Job:
    """Something to do in a process of its own.

    Args:
        name: For people.
        task: What ``worker`` is told, JSON values.
        log: Where the process's talk goes.
    """

    name: str
    task: Mapping[str, Any]
    log: Path


def run_jobs(jobs: Sequence[Job], *, at_once: int, began: Callable[[Job], object]) -> Iterator[Job]:
    """Do every job and yield it when it is done.

    When this process is interrupted, or one job fails, the others are asked to stop: a run in training saves a
    checkpoint first. When this process is killed, they end at once.

    Args:
        jobs: What to do, in order.
        at_once: How many processes there are at a time.
        began: Told of each job that begins.

    Raises:
        RunError: If a job fails; says why.
    """
    waiting, running = list(jobs), dict[subprocess.Popen[bytes], Job]()
    with _terminate_as_interrupt():
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    job = waiting.pop(0)
                    began(job)
                    running[_start(job)] = job
                for process in [process for process in running if process.poll() is not None]:
                    job = running.pop(process)
                    _check(process, job)
                    yield job
                time.sleep(PAUSE)
        finally:
            _stop(running)


def _start(job: Job) -> subprocess.Popen[bytes]:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", WORKER, json.dumps(job.task)],
            stdin=subprocess.PIPE,  # held open: its end tells the process that this one is gone
            stdout=subprocess.PIPE,  # the one message of a failure
            stderr=log,
            start_new_session=True,  # a terminal's Ctrl-C reaches this process alone, which then asks the others
        )


def _check(process: subprocess.Popen[bytes], job: Job) -> None:
    said = process.communicate()[0].decode("utf-8", "replace").strip()
    if process.returncode == 130:
        raise InterruptedRunError(f"{job.name} was stopped; the same command goes on.")
    if process.returncode:
        why = said or f"its process ended with code {process.returncode}"
        raise RunError(
            f"{job.name} failed: {why}\nIts log is {job.log}; the same command goes on with what is missing."
        )


def _stop(running: Mapping[subprocess.Popen[bytes], Job]) -> None:
    for process in running:
        with suppress(OSError):
            process.send_signal(signal.SIGINT)
    for process in running:
        process.wait()  # not communicate, which closes stdin: the process would end at once
        process.communicate()


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """Let SIGTERM act as Ctrl-C does; only a main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
