"""Processes beside each other: done, failed, stopped, and left behind by a parent that was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from jepa_vlm.errors import RunError
from jepa_vlm.runs.comparing import jobs as module
from jepa_vlm.runs.comparing.jobs import Job, run_jobs

ROOT = Path(__file__).resolve().parents[3]
WORKER = """
import json, os, pathlib, signal, sys, threading, time
from jepa_vlm.runs.comparing.jobs import _end_with_parent
threading.Thread(target=_end_with_parent, daemon=True).start()
task = json.loads(sys.argv[1])
sys.stderr.write("talking\\n")
if task.get("fail"):
    sys.stdout.write("no such data\\n")
    raise SystemExit(1)
place = pathlib.Path(task["to"])
if task.get("wait"):
    def stop(*_):
        place.with_suffix(".saved").touch()
        os._exit(130)
    signal.signal(signal.SIGINT, stop)
    place.with_suffix(".pid").write_text(str(os.getpid()))
    time.sleep(300)
place.touch()
"""


@pytest.fixture
def job(tmp_path, monkeypatch):
    (tmp_path / "little_worker.py").write_text(WORKER)
    monkeypatch.setattr(module, "WORKER", "little_worker")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{tmp_path}")
    return lambda name, **task: Job(name, {"to": str(tmp_path / name), **task}, tmp_path / "logs" / f"{name}.log")


def until(true, seconds=60.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_every_job_is_done_and_its_talk_kept(job, tmp_path):
    began = []
    done = list(run_jobs([job("a"), job("b"), job("c")], at_once=2, began=lambda one: began.append(one.name)))
    assert began == ["a", "b", "c"]
    assert sorted(one.name for one in done) == ["a", "b", "c"]
    assert all((tmp_path / name).exists() for name in "abc")
    assert (tmp_path / "logs" / "a.log").read_text() == "talking\n"


def test_a_failure_says_why_and_stops_the_others(job, tmp_path):
    waiting = job("slow", wait=True)

    def began(one):
        if one.name == "bad":
            until((tmp_path / "slow.pid").exists)

    with pytest.raises(RunError, match=r"bad failed: no such data\nIts log is .*bad.log"):
        list(run_jobs([waiting, job("bad", fail=True)], at_once=2, began=began))
    assert (tmp_path / "slow.saved").exists()


def test_an_interruption_asks_the_processes_to_stop(job, tmp_path, monkeypatch):
    running = run_jobs([job("slow", wait=True), job("never")], at_once=1, began=lambda one: None)

    def interrupted(_):
        until((tmp_path / "slow.pid").exists)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=interrupted))
    with pytest.raises(KeyboardInterrupt):
        next(running)
    assert (tmp_path / "slow.saved").exists()
    assert not (tmp_path / "never").exists()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
def test_a_killed_parent_leaves_no_process_behind(job, tmp_path):
    slow = job("slow", wait=True)
    code = (
        "import json, sys; from pathlib import Path; from jepa_vlm.runs.comparing import jobs; "
        "jobs.WORKER = 'little_worker'; task = json.loads(sys.argv[1]); "
        "list(jobs.run_jobs([jobs.Job('slow', task, Path(sys.argv[2]))], at_once=1, began=print))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, json.dumps(dict(slow.task)), str(slow.log)])
    until((tmp_path / "slow.pid").exists)
    pid = int((tmp_path / "slow.pid").read_text() or 0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until(lambda: gone(pid))
    assert not (tmp_path / "slow.saved").exists()
