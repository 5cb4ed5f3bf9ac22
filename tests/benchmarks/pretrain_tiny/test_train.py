"""A short training: it learns, it is the same again, and an interrupted one ends with the same weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from benchmarks.pretrain_tiny import batches, curriculum, forward
from benchmarks.pretrain_tiny.lessons import EASY
from benchmarks.pretrain_tiny.optimizer import Optimizer
from benchmarks.pretrain_tiny.train import STATE, Settings, swiftest_dtype, train


@pytest.fixture(autouse=True)
def small(monkeypatch):
    pictures, asides = {"scene": 2, "chart": 1, "maze": 1, "puzzle": 1}, {3: {"talk": 1}, 7: {"closeup": 4}}
    stages = (
        curriculum.Stage(0.0, pictures, (0.0, 0.0), 0.0, EASY),
        curriculum.Stage(0.1, pictures, (0.2, 0.6), 0.9, fitting=2.0, asides=asides),
    )
    monkeypatch.setattr(curriculum, "STAGES", stages)
    monkeypatch.setattr(forward, "PICTURES", {"scene": 2, "chart": 2, "maze": 2, "puzzle": 2, "closeup": 2})


def settings(folder: Path, **changes) -> Settings:
    defaults = {"folder": folder, "steps": 12, "seed": 0, "device": "cpu", "test_every": 4, "dtype": torch.float32}
    return Settings(**defaults | changes)


@pytest.mark.slow
def test_a_short_training_learns_and_resumes_bit_for_bit(tmp_path, monkeypatch):
    quiet = Console(quiet=True)
    whole, _ = train(settings(tmp_path / "whole"), quiet)
    rows = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [4, 8, 12]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert {"count", "piece", "closeup-shape"} <= {name.split("/")[0] for name in rows[-1]["accuracy"]}

    class StoppedError(Exception):
        pass

    step = Optimizer.step

    def stop_at_six(self, number):
        if number == 6:
            raise StoppedError
        step(self, number)

    monkeypatch.setattr(Optimizer, "step", stop_at_six)
    with pytest.raises(StoppedError):
        train(settings(tmp_path / "broken"), quiet)
    monkeypatch.setattr(Optimizer, "step", step)
    resumed, _ = train(settings(tmp_path / "broken"), quiet)
    for (name, one), other in zip(whole.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other), name
    again = [json.loads(line) for line in (tmp_path / "broken" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in again] == [4, 8, 12]
    assert [row["accuracy"] for row in again] == [row["accuracy"] for row in rows]
    assert (tmp_path / "whole" / STATE).stat().st_size == (tmp_path / "broken" / STATE).stat().st_size


@pytest.mark.slow
def test_every_parameter_moves_and_is_saved_in_float32(tmp_path):
    model, _ = train(settings(tmp_path, steps=8, test_every=8), Console(quiet=True))
    saved = load_file(tmp_path / STATE)
    fresh, _ = train(settings(tmp_path / "none", steps=0), Console(quiet=True))
    for (name, after), before in zip(model.named_parameters(), fresh.parameters(), strict=True):
        assert after.dtype == torch.float32
        assert not torch.equal(after, before), name
        assert torch.equal(saved[f"weight/model.{name}"], after)


def test_another_length_needs_another_folder(tmp_path):
    train(settings(tmp_path, steps=2, test_every=2), Console(quiet=True))
    with pytest.raises(ValueError, match="is of a training of 2 steps, not 4; use another folder"):
        train(settings(tmp_path, steps=4), Console(quiet=True))


def test_the_rate_warms_up_and_falls():
    optimizer = Optimizer(modules={"layers": torch.nn.Linear(4, 4)}, steps=1000, dtype=torch.float32)
    assert optimizer.rate(0) == pytest.approx(3e-5)
    assert optimizer.rate(99) == pytest.approx(3e-3, rel=0.03)
    assert optimizer.rate(700) == pytest.approx(1.5e-3)
    assert optimizer.rate(799) == pytest.approx(6e-5)
    assert optimizer.rate(800) == optimizer.rate(949) == pytest.approx(3e-3)
    assert optimizer.rate(999) == pytest.approx(6e-5)


def test_bfloat16_where_the_hardware_has_it(monkeypatch):
    for has, dtype in (
        ({}, torch.float32),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda has=has: has)
        assert swiftest_dtype("cpu") == dtype
        assert swiftest_dtype("cuda") == torch.bfloat16


def test_nothing_is_drawn_twice():
    """Pictures of two steps differ: the stream never repeats a lesson."""
    stream = [
        [lesson.picture.key for lesson, _ in batches.lessons("scene", count=3, seed=(0, step))] for step in range(3)
    ]
    assert len({key for keys in stream for key in keys}) == 9
