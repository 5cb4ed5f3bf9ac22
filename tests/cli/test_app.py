"""The command line from outside: exit codes, one message, one JSON object, and no torch where none is needed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jepa_vlm import playground
from jepa_vlm.cli.app import app
from jepa_vlm.cli.evaluate import comparison_text
from jepa_vlm.evaluation import McNemar
from jepa_vlm.runs import data
from jepa_vlm.trajectories.formats import write_jsonl

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1"}
TINY = "tiny-random-qwen2.5-vl"
SMALL = ("--steps", "4", "--batch-size", "2", "--validate-every", "2", "--questions", "4")


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """Run a command in this process, in a folder of its own, on little data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "TRAIN", 16)
    monkeypatch.setattr(data, "VALIDATION", 6)
    return lambda *words: CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, list(words))


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("recipes",),
        ("objectives",),
        ("backbones",),
        ("backbones", "list"),
        ("recipe", "pearl", "--help"),
        ("compare", "--help"),
    ],
    ids=" ".join,
)
def test_what_needs_no_model_imports_no_torch(words):
    code = (
        "import sys; from jepa_vlm.cli.app import app\n"
        f"try: app({list(words)!r})\nexcept SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'transformers', 'peft'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_help_of_a_recipe_shows_its_own_parameters(cli, tmp_path):
    said = cli("recipe", "pearl", "--help").stdout
    assert "--set tokens=4" in said
    assert "arXiv:2604.08065" in said


@pytest.mark.parametrize("words", [("recipes",), ("objectives",), ("backbones",)], ids=" ".join)
def test_lists_are_json_too(words, cli):
    assert json.loads(cli(*words, "--json").stdout)


def test_objectives_lists_exported_parts_with_their_arguments(cli, tmp_path):
    listed = json.loads(cli("objectives", "--json").stdout)
    names = {kind: {each["name"] for each in some} for kind, some in listed.items()}
    assert {"NextToken", "LatentPrediction"} <= names["objectives"]
    assert {"SmoothL1Loss", "CosineLoss"} <= names["losses"]
    assert "LatentLoss" not in names["losses"]  # abstract
    assert all(each["summary"] for some in listed.values() for each in some)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("recipe", "perl"), 2, "Did you mean 'pearl'"),
        (("recipe", "nowhere.py"), 2, "does not exist"),
        (("recipe", "pearl", "--set", "token=3"), 2, "Did you mean 'tokens'"),
        (("recipe", "pearl", "--set", "tokens=x"), 2, "must be int"),
        (("recipe", "pearl", "--set", "tokens"), 2, "KEY=VALUE"),
        (("recipe", "pearl", "--backbone", "tiny-random-qwen2.5vl"), 2, "Did you mean 'tiny-random-qwen2.5-vl'"),
        (("recipe", "pearl", "--data", "playground:maize"), 2, "Did you mean 'maze'"),
        (("recipe", "pearl", "--data", "playground:maze#dirct=1"), 2, "Did you mean 'direct'"),
        (("recipe", "pearl", "--data", "playground:maze#direct=2"), 1, "must be a share from 0 to 1"),
        (("recipe", "pearl", "--data", "nowhere.jsonl"), 1, "does not exist"),
        (("recipe", "pearl", "--resume"), 1, "give it as --output"),
        (("recipe", "pearl", "--resume", "--output", "nowhere"), 1, "no run to resume"),
        (("recipe", "pearl", "--steps", "0"), 2, "--steps"),
        (("recipe", "pearl", "--max-tokens", "20"), 1, "raise --max-tokens"),
        (("evaluate", "tiny-random-qwen2.5-vl", "--scoring", "shrt"), 2, "Did you mean 'short'"),
        (("evaluate", "tiny-random-qwen2.5-vl", "--on", "playgrond"), 2, "Did you mean 'playground'"),
        (("recipe", "sft", "--report-to", "wnadb"), 2, "No tracker named 'wnadb'"),
        (("recipe", "sft", "--steps", "2", "--questions", "0", "--output", "/dev/null/x"), 1, "Check the path"),
        (("data", "show", "playground:maze", "--count", "1", "--output", "/dev/null/x.html"), 1, "Check the path"),
        (("export", "nowhere", "--to", "x"), 1, "is not a checkpoint"),
        (("data", "show", "nowhere.jsonl"), 1, "does not exist"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_users_mistake_is_one_message_and_a_code(words, code, message, cli, tmp_path):
    done = cli(*words)
    assert done.exit_code == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback_wherever_it_stands(cli, tmp_path):
    assert "Traceback" in cli("recipe", "perl", "--debug").stderr
    assert "Traceback" in cli("--debug", "recipe", "perl").stderr


def test_dry_run_shows_values_with_origins_and_writes_nothing(cli, tmp_path):
    done = cli("recipe", "pearl", "--lr", "0.001", "--data", "playground:one-tool-many-calls#size=7", "--dry-run")
    assert done.exit_code == 0, done.stderr
    lines = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.strip()}
    assert lines["learning_rate"][1:] == ["0.001", "user"]
    assert lines["data"][1:] == ["playground:one-tool-many-calls#size=7", "user"]
    assert lines["batch_size"][2:] == ["backbone", "profile"]
    assert lines["weight_decay"][1:] == ["0.1", "recipe"]
    assert lines["seed"][1:] == ["0", "default"]
    assert list(tmp_path.iterdir()) == []


def test_a_run_prints_one_json_object_and_the_next_commands_work(cli, tmp_path):
    done = cli("recipe", "pearl", *SMALL, "--json")
    assert done.exit_code == 0, done.stderr
    held = json.loads(done.stdout)
    assert held["run"] == "runs/pearl"
    evaluated = cli("evaluate", "runs/pearl", "--on", "playground:maze", "--questions", "3", "--json")
    assert json.loads(evaluated.stdout)["accuracy"]["playground:maze"]["letter-logits"]["overall"]["n"] == 3
    exported = cli("export", "runs/pearl", "--to", "again", "--json")
    assert json.loads(exported.stdout)["folder"] == "again"
    again = cli("evaluate", "again", "--on", "playground:maze", "--questions", "3")
    assert again.exit_code == 0, again.stderr
    refused = cli("recipe", "sft", *SMALL, "--output", "runs/pearl")
    assert (refused.exit_code, "holds another run" in refused.stderr) == (1, True)


def test_two_models_are_compared_item_by_item(cli, tmp_path):
    words = ("evaluate", TINY, "--questions", "6", "--on", "playground:maze", "--scoring", "free", "--scoring", "short")
    done = cli(*words, "--against", TINY, "--output", "answers", "--json")
    assert done.exit_code == 0, done.stderr
    held = json.loads(done.stdout)["against"]
    assert held["model"] == TINY
    assert held["accuracy"]["playground:maze"]["short"]["overall"]["n"] == 6
    same = {"n": 6, "only_a": 0, "only_b": 0, "p_value": 1.0}
    assert held["mcnemar"] == {"playground:maze": {"free": same, "short": same}}
    first, second = (tmp_path / "answers" / name / "playground-maze.json" for name in ("", "against"))
    assert json.loads(first.read_text()) == json.loads(second.read_text())


def test_a_comparison_is_a_table(cli):
    done = cli("evaluate", TINY, "--questions", "2", "--against", TINY)
    assert done.exit_code == 0, done.stderr
    assert f"Against {TINY}" in done.stdout
    title, row = done.stdout.rstrip().splitlines()[-2:]
    assert title.split()[-4:] == ["EXACT", "MCNEMAR", "P", "(TWO-SIDED)"]
    assert row.split() == ["playground", "letter-logits", "0", "0", "2", "1"]


def test_a_comparison_names_who_alone_was_right():
    row = comparison_text({"maze": {"free": McNemar(n=10, only_a=1, only_b=4, p_value=0.375)}}).splitlines()[1]
    assert row.split() == ["maze", "free", "1", "4", "10", "0.375"]


def test_data_show_writes_a_page(cli, tmp_path):
    done = cli("data", "show", "playground:jigsaw#direct=1", "--count", "2", "--output", "page.html")
    assert done.exit_code == 0, done.stderr
    page = (tmp_path / "page.html").read_text()
    assert "jigsaw-train-0-0" in page
    assert "tool_call" not in page


@pytest.mark.slow
def test_a_sigterm_to_all_processes_saves_exits_with_130_and_the_printed_command_goes_on(tmp_path):
    write_jsonl(playground.trajectories("visual-search", count=24), tmp_path / "train.jsonl")
    words = ("recipe", "sft", "--data", "train.jsonl", "--steps", "40", "--batch-size", "2", "--questions", "8")
    words = (*words, "--workers", "1")
    process = subprocess.Popen(
        [sys.executable, "-m", "jepa_vlm.cli", *words],
        cwd=tmp_path,
        env=ENVIRONMENT,
        text=True,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    talk = ""
    for line in process.stderr:
        talk += line
        if line.startswith("step 4/"):
            os.killpg(process.pid, signal.SIGTERM)  # as a cluster does, workers included
    assert process.wait(timeout=120) == 130
    command = talk.strip().splitlines()[-1].split()
    assert command[:3] == ["jepa-vlm", "recipe", "sft"]
    assert command[-3:] == ["--output", "runs/sft", "--resume"]
    assert list((tmp_path / "runs/sft/checkpoints").glob("checkpoint-*/trainer_state.json"))
    again = [sys.executable, "-m", "jepa_vlm.cli", *command[1:], "--json"]
    done = subprocess.run(again, capture_output=True, text=True, check=False, cwd=tmp_path, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"] == "runs/sft"
    steps = [json.loads(line)["step"] for line in (tmp_path / "runs/sft/metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)
    assert steps[-1] == 40


def test_the_scorings_that_are_named_without_torch_are_the_scorings():
    from jepa_vlm.cli import evaluate
    from jepa_vlm.generation import SCORINGS

    assert (*SCORINGS, "tools") == evaluate.SCORINGS


def test_a_reader_that_leaves_is_no_error():
    command = f"{sys.executable} -c 'from jepa_vlm.cli.app import app; app()' compare --help | head -60"
    ended = subprocess.run(command, shell=True, capture_output=True, env=ENVIRONMENT | {"COLUMNS": "80"}, check=False)
    assert ended.stdout.count(b"\n") == 60
    assert ended.stderr == b""
