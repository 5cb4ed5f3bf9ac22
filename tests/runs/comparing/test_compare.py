"""Comparisons from start to end in real processes: what they write, go on with, refuse, and survive."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

import jepa_vlm as jv
from jepa_vlm.errors import DataError, RunError, UnknownNameError
from jepa_vlm.runs.comparing import compare as module
from jepa_vlm.runs.comparing.entries import CompareFolder, read_arms
from jepa_vlm.runs.settings import CompareSettings
from jepa_vlm.trajectories.formats import write_jsonl
from tests.runs.comparing.test_entries import finished
from tests.suites import write_vstar

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1"}
TRAINING = {"steps": 4, "batch_size": 2, "validate_every": 2}
FILES = [f"comparison.{end}" for end in ("json", "md", "tex", "csv", "html")]
ON = "playground:maze"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "train.jsonl"
    return str(write_jsonl(jv.playground.trajectories("sequential-crops", count=12), path))


def asked(data, **more):
    return {"data": data, "on": ON, "questions": 8, "jobs": 1, "training": TRAINING, **more}


def times(folder: Path) -> dict[str, int]:
    """When each run ended."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("runs/*/result.json")}


def until(true, seconds=3600.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


@pytest.mark.slow
def test_a_comparison_and_then_one_more_seed_entry_and_benchmark(data, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    first = jv.compare("sft", "pearl", seeds=1, output=tmp_path / "out", match="flops", **asked(data))
    assert [path.name for path in first.files] == FILES
    assert all(path.is_file() for path in first.files)
    record = first.record
    assert json.loads(first.files[0].read_text()) == json.loads(json.dumps(record))
    assert [(run["arm"], run["seed"]) for run in record["runs"]] == [("untrained", None), ("sft", 0), ("pearl", 0)]
    assert record["accuracy"][ON][""]["pearl"]["against"]["test"] == "exact McNemar"
    assert record["ablations"] == [
        {"full": "pearl", "rows": [{"arm": "sft", "without": ["latent_prediction", "next_latent"]}]}
    ]
    sft, pearl = (record["cost"][name] for name in ("sft", "pearl"))
    assert (sft["steps"], pearl["steps"]) == (4, round(4 * (sft["flops"] / 4) / (pearl["flops"] / pearl["steps"])))
    assert pearl["steps"] < 4
    assert all(sft[name] for name in ("seconds", "peak_memory", "step_memory", "tokens"))
    assert record["machines"][0]["cpu"]
    before = times(tmp_path / "out")

    more = jv.compare(
        "sft", "pearl", "flat=pearl:next_latent=0", seeds=2, output=tmp_path / "out", match="flops", **asked(data)
    )
    after = times(tmp_path / "out")
    assert {name: after[name] for name in before} == before
    assert set(after) == {f"{arm}-{seed}" for arm in ("sft", "pearl", "flat") for seed in (0, 1)}
    assert more.record["accuracy"][ON][""]["pearl"]["against"]["test"] == "seeds and items"
    assert [row["arm"] for row in more.record["ablations"][0]["rows"]] == ["flat", "sft"]

    other = jv.compare(
        "sft", output=tmp_path / "out", seeds=1, match="flops", **asked(data, on="playground:jigsaw", questions=4)
    )
    assert list(other.record["accuracy"]) == ["playground:jigsaw"]
    assert times(tmp_path / "out") == after

    with pytest.raises(RunError, match="has steps = 4, this command 5"):
        jv.compare("sft", output=tmp_path / "out", match="flops", **asked(data, training={**TRAINING, "steps": 5}))
    with pytest.raises(RunError, match="has match = 'flops', this command 'steps'"):
        jv.compare("sft", output=tmp_path / "out", **asked(data))

    runs = [str(tmp_path / "out" / "runs" / f"pearl-{seed}") for seed in (0, 1)]
    given = jv.compare(*runs, output=tmp_path / "given", baseline="untrained", **asked(data))
    assert given.record["accuracy"][ON][""]["pearl"]["mean"] == more.record["accuracy"][ON][""]["pearl"]["mean"]
    assert given.record["cost"]["pearl"]["flops"] == pearl["flops"]
    assert given.record["accuracy"][ON][""]["pearl"]["against"]["baseline"] == "untrained"
    assert not (tmp_path / "given" / "runs").exists()


@pytest.mark.slow
def test_a_comparison_that_is_killed_midway_loses_nothing(data, tmp_path):
    """SIGKILL while the second run trains, behind its first checkpoint."""
    words = ["compare", "sft", "--seeds", "2", "--data", data, "--on", ON, "--questions", "4", "--jobs", "1"]
    words += ["--steps", "16", "--batch-size", "2", "--validate-every", "4", "--output", "out", "--json"]
    command = [sys.executable, "-m", "jepa_vlm.cli", *words]
    killed = subprocess.Popen(
        command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    out = tmp_path / "out"
    until(lambda: list(out.glob("runs/sft-1/checkpoints/checkpoint-*/trainer_state.json")))
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (out / "runs/sft-1/result.json").exists(), "the run ended before it could be killed"
    before = times(out)
    assert set(before) == {"sft-0"}
    metrics = out / "runs/sft-1/metrics.jsonl"
    time.sleep(2)  # the process that trained is gone with its parent: nothing is written any more
    left = metrics.read_text()
    time.sleep(2)
    assert metrics.read_text() == left

    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "going on from" in (out / "logs/sft-1.log").read_text()
    assert {name: times(out)[name] for name in before} == before
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert steps == sorted(steps)
    assert steps[-1] == 16
    whole = jv.train(
        "sft", data=data, output=tmp_path / "whole", seed=1, steps=16, batch_size=2, validate_every=4, questions=0
    )
    assert json.loads((out / "runs/sft-1/result.json").read_text())["terms"] == whole.terms
    assert [path.name for path in map(Path, json.loads(done.stdout)["files"])] == FILES


def test_what_cannot_be_compared_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UnknownNameError, match="No baseline named 'perl'"):
        jv.compare("sft", "pearl", baseline="perl", output=tmp_path / "out")
    with pytest.raises(UnknownNameError, match="No benchmark named 'mazes'"):
        jv.compare("sft", on="mazes:x", output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("on", "protocol", "error", "message"),
    [
        ("vstar:nothere", None, DataError, "Folder nothere does not exist"),
        ("mmvp:.", None, DataError, "no folder 'MMVP Images'"),
        ("vstar:suite", "pearl", UnknownNameError, "No protocol named 'pearl'"),
    ],
)
def test_what_is_wrong_with_a_benchmark_is_said_before_anything_trains(
    tmp_path, monkeypatch, on, protocol, error, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "run_jobs", lambda *_, **__: pytest.fail("something was begun"))
    write_vstar(tmp_path / "suite")
    with pytest.raises(error, match=message):
        jv.compare("sft", on=on, protocol=protocol, output="out")
    assert not (tmp_path / "out" / "settings.json").exists()


def test_several_processes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RunError, match="call it once"):
        jv.compare("sft", output=tmp_path / "out")


def begun(run: Path, steps: int) -> None:
    """A run's folder with what it says of its steps."""
    run.mkdir(parents=True)
    (run / "config.json").write_text(json.dumps({"steps": {"value": steps, "origin": "recipe"}}))


def test_runs_of_another_number_of_steps_are_not_taken_for_this_calls(tmp_path):
    """Under steps, another baseline may bring another recipe's number: nothing would train the runs there anew."""
    out = tmp_path / "out"
    made = module._Comparison(
        CompareSettings(entries=("sft", "pearl"), seeds=2, output=out),
        read_arms(["sft", "pearl"], data=[]),
        CompareFolder(path=out),
        Console(quiet=True),
    )
    begun(out / "runs" / "sft-1", 100)
    made._check_steps({"sft": 100, "pearl": 100})
    with pytest.raises(RunError, match=r"runs/sft-1 has 100 steps, and by 'sft' .* 200; name the same --baseline"):
        made._check_steps({"sft": 200, "pearl": 200})


def test_a_finished_run_never_passes_for_one_that_the_comparison_trained(tmp_path):
    def held(*entries: str) -> None:
        settings = CompareSettings(entries=entries, seeds=1, output=tmp_path / "out", backbone="tiny-qwen2.5-vl")
        folder = CompareFolder(path=settings.output)
        module._Comparison(settings, read_arms(entries, data=[]), folder, Console(quiet=True))._hold()

    run = finished(tmp_path / "mine", recipe="sft", backbone="tiny-qwen2.5-vl", data="playground:sequential-crops")
    held("sft")
    with pytest.raises(RunError, match="has sft: by = None, this command 'finished runs'"):
        held(f"sft={run}")
    held("sft", f"mine={run}")
    held(f"mine={run}")


def test_a_finished_run_is_handed_on_by_its_place_as_a_command_line_has_an_end(tmp_path):
    run = finished(tmp_path / "mine", recipe="sft", backbone="tiny-qwen2.5-vl")
    config = json.loads((run / "config.json").read_text())
    numbers = {"examples": {}, "parts": [], "batch_size": {"value": 2, "origin": "user"}}
    numbers |= {"accumulation": {"value": 1, "origin": "user"}, "dropped": [f"row-{i}" for i in range(20_000)]}
    (run / "config.json").write_text(json.dumps(config | numbers))
    settings = CompareSettings(entries=(str(run),), output=tmp_path / "out")
    arms = read_arms(settings.entries, data=[])
    job = module._Comparison(settings, arms, CompareFolder(path=settings.output), Console(quiet=True))._facts_job(
        arms[0]
    )
    assert len(json.dumps(job.task)) < 4096
    assert Path(job.task["run"]) == run
