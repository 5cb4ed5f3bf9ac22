"""One process at a time works in a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import jepa_vlm as jv
from jepa_vlm.errors import RunError
from jepa_vlm.runs import data
from jepa_vlm.runs.folder import RunFolder, alone, free_folder, holds_anything

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import sys
from pathlib import Path
from jepa_vlm.runs.folder import alone
with alone(Path(sys.argv[1]), "run"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_one_is_refused_and_the_next_is_not(tmp_path):
    folder = tmp_path / "a" / "b"
    refused = pytest.raises(RunError, match=r"Another process works on the run in .*b; wait")
    with alone(folder, "run"), refused, alone(folder, "run"):
        pass
    with alone(folder, "run"):
        pass


def test_a_process_that_is_killed_lets_go(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    holder = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RunError, match="Another process works"), alone(tmp_path, "run"):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with alone(tmp_path, "run"):
        pass


def test_a_lock_that_stayed_behind_does_not_take_a_folder(tmp_path):
    with alone(tmp_path / "sft", "run"):
        pass
    assert not holds_anything(tmp_path / "sft")
    assert free_folder(tmp_path, "sft") == tmp_path / "sft"
    RunFolder(path=tmp_path / "sft").check_free()


def test_a_run_that_another_process_works_on_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "TRAIN", 4)
    refused = pytest.raises(RunError, match=r"Another process works on the run in .*wait until it ends")
    with alone(tmp_path / "run", "run"), refused:
        jv.train("sft", output=tmp_path / "run", steps=2, batch_size=2, questions=0)
    assert [path.name for path in (tmp_path / "run").iterdir() if path.name != ".lock"] == []
