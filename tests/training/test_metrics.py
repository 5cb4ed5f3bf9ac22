"""metrics.jsonl: appended, cut on resuming, readable after a kill."""

from __future__ import annotations

from pathlib import Path

import pytest

from jepa_vlm.training.metrics import MetricsFile, read_metrics


def test_metrics_are_read_back_and_later_lines_are_cut(tmp_path):
    file = MetricsFile(path=tmp_path / "metrics.jsonl")
    for step in range(4):
        file.append({"kind": "train", "step": step, "loss": step / 3})
    file.cut_after(2)
    assert [row["step"] for row in read_metrics(file.path)] == [0, 1, 2]
    assert read_metrics(file.path)[1]["loss"] == 1 / 3


def test_a_half_written_line_of_metrics_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "lo')
    assert read_metrics(path) == [{"step": 1}]


def test_a_process_other_than_the_main_one_writes_no_metrics(tmp_path):
    file = MetricsFile(path=tmp_path / "metrics.jsonl", write=False)
    file.append({"step": 1})
    file.cut_after(0)
    assert not file.path.exists()


def test_the_time_spent_is_that_of_the_last_line_that_states_it(tmp_path):
    file = MetricsFile(path=tmp_path / "metrics.jsonl")
    assert file.seconds() == 0.0
    file.append({"kind": "train", "step": 1, "seconds": 2.5})
    file.append({"kind": "train", "step": 2, "seconds": 4.0})
    file.append({"kind": "validation", "step": 2})
    assert file.seconds() == 4.0
    file.cut_after(1)
    assert file.seconds() == 2.5


def test_a_run_that_is_killed_while_metrics_are_cut_keeps_its_lines(tmp_path, monkeypatch):
    file = MetricsFile(path=tmp_path / "metrics.jsonl")
    for step in range(4):
        file.append({"step": step})
    write = Path.write_bytes

    def killed(path, content):
        write(path, content[:5])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", killed)
    with pytest.raises(KeyboardInterrupt):
        file.cut_after(2)
    assert [row["step"] for row in read_metrics(file.path)] == [0, 1, 2, 3]
    assert list(tmp_path.iterdir()) == [file.path]
