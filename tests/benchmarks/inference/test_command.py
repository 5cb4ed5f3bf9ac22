"""``python -m benchmarks.inference`` from outside: a record and a table."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from benchmarks.inference.__main__ import app


@pytest.fixture
def cli(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, words)


@pytest.mark.slow
def test_the_inference_command_writes_a_record_and_a_table(cli, tmp_path):
    words = ("--mix", "lvr", "--tokens", "2", "--latents", "1", "--rounds", "1", "--warmup", "0")
    done = cli(*words)
    assert done.exit_code == 0, done.stderr
    head, *rows = [line.split() for line in done.stdout.splitlines() if line]
    assert head[:3] == ["DATA", "WAY", "TOKENS"]
    assert [row[:3] for row in rows[:2]] == [["lvr", "plain", "2"], ["lvr", "lvr", "2"]]
    found = json.loads((tmp_path / "benchmarks" / "results" / "inference_tiny_cpu.json").read_text(encoding="utf-8"))
    assert found["cases"][0]["ways"]["tools"]["calls"] == 1


def test_a_mistake_is_one_message_and_nothing_is_written(cli, tmp_path):
    done = cli("--mix", "lvrr")
    assert done.exit_code == 2, done.stderr
    assert "Did you mean 'lvr'" in done.stderr
    assert list(tmp_path.iterdir()) == []
