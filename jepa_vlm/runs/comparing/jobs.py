"""Jobs of a comparison run beside each other, each in a process of its own that ends when this one does.

Such a process is ``python -m jepa_vlm.runs.comparing.jobs JSON``. Its exit codes: 0 done; 1 failed, with the message on
stdout; 130 stopped by a signal.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from jepa_vlm.errors import InterruptedRunError, JepaVLMError, RunError

WORKER = "jepa_vlm.runs.comparing.jobs"
PAUSE = 0.1  # seconds between two looks at the processes


@final
@dataclass(frozen=True)
class Job:
    """Something to do in a process of its own.

    Args:
        name: Name in messages.
        task: Task of the process, as JSON values.
        log: Log file of the process.
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
        began: Called with each job that begins.

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


def main(task: dict[str, Any]) -> int:
    """Do a job."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with redirect_stdout(sys.stderr):
            _do(task)
    except (InterruptedRunError, KeyboardInterrupt) as err:
        sys.stderr.write(f"{err}\n")
        return 130
    except (JepaVLMError, ValueError, OSError) as err:
        sys.stdout.write(f"{err}\n")
        return 1
    return 0


def _do(task: dict[str, Any]) -> None:
    from jepa_vlm.runs.comparing.answers import AnswerSettings, answer
    from jepa_vlm.runs.comparing.facts import measure_cost, measure_facts
    from jepa_vlm.runs.settings import RunSettings
    from jepa_vlm.runs.training_run import start_run
    from jepa_vlm.training.run_config import CONFIG, RunConfig

    if task["kind"] == "facts":
        measure_facts(task["recipe"], RunSettings(**task["settings"]), Path(task["to"]))
        return
    if task["kind"] == "cost":
        measure_cost(RunConfig.read(Path(task["run"])), Path(task["to"]))
        return
    model = task["model"]
    if "recipe" in task and not (Path(model) / "result.json").is_file():
        started = (Path(model) / CONFIG).is_file()
        if not started:  # a process that was killed while it began the run
            shutil.rmtree(model, ignore_errors=True)
        start_run(task["recipe"], RunSettings(**task["settings"], output=model, resume=started))
    answer(model, AnswerSettings(**task["asking"]), Path(task["to"]), loading=task.get("loading", {}))


def _end_with_parent() -> None:
    """Wait for the end of stdin, which the process that started this one holds open, and end at once."""
    while os.read(0, 1):  # not sys.stdin, whose lock would be held when this process ends by itself
        pass
    os._exit(1)


if __name__ == "__main__":
    raise SystemExit(main(json.loads(sys.argv[1])))
