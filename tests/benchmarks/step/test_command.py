"""``python -m benchmarks.step`` from outside: files, JSON, and the exit code of a regression."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from benchmarks.mixes import MIXES
from benchmarks.shapes import SHAPES
from benchmarks.step import suite
from benchmarks.step.__main__ import app
from benchmarks.step.settings import ORDER
from tests.benchmarks.step.records import record

LITTLE = ("--mix", "lvr", "--variant", "sft", "--examples", "1", "--rounds", "1", "--warmup", "0", "--device", "meta")


@pytest.fixture
def cli(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, words)


@pytest.fixture
def measured(monkeypatch):
    """What the suite returns instead of measuring."""
    found = record()
    monkeypatch.setattr(suite, "run_suite", lambda settings, **_: found)
    return found


def test_the_names_in_the_help_are_the_names_there_are(cli):
    said = " ".join(cli("--help").stdout.split())
    assert all(name in said for name in (*SHAPES, *MIXES, *ORDER))


def test_a_record_and_its_tables_are_written_where_results_are_kept(cli, tmp_path):
    done = cli(*LITTLE)
    assert done.exit_code == 0, done.stderr
    folder = tmp_path / "benchmarks" / "results"
    assert sorted(path.name for path in folder.iterdir()) == [f"step_tiny_meta.{end}" for end in ("json", "md")]
    found = json.loads((folder / "step_tiny_meta.json").read_text(encoding="utf-8"))
    assert found["config"]["shape"] == "tiny"
    assert found["cases"][0]["variants"]["sft"]["counted"]["over_closed_form"] == pytest.approx(1, rel=0.03)


def test_the_json_output_is_one_object(cli, measured, tmp_path):
    found = json.loads(cli("--output", "a/b.json", "--json").stdout)
    assert found == {"record": "a/b.json", "page": "a/b.md"}
    assert (tmp_path / "a" / "b.md").is_file()


def test_a_planted_slowdown_is_reported_and_the_code_is_one(cli, measured, tmp_path):
    (tmp_path / "before.json").write_text(json.dumps(record()), encoding="utf-8")
    measured["cases"][0]["variants"]["pearl"]["timed"]["seconds"]["median"] *= 1.2
    done = cli("--against", "before.json")
    assert done.exit_code == 1
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("WORSE")]
    assert line.split()[:3] == ["WORSE", "pearl", "seconds"]
    assert "+20.0%" in line
    found = cli("--against", "before.json", "--json")
    assert found.exit_code == 1
    assert json.loads(found.stdout)["against"]["moved"][0]["worse"]


def test_an_unchanged_run_exits_with_zero_and_reports_no_change(cli, measured, tmp_path):
    (tmp_path / "before.json").write_text(json.dumps(record()), encoding="utf-8")
    done = cli("--against", "before.json")
    assert done.exit_code == 0
    assert "0 of 11 figures moved beyond their spread" in done.stdout


def test_cases_are_added_to_a_record(cli, measured, tmp_path):
    assert cli("--output", "r.json").exit_code == 0
    measured["cases"][0]["mix"] = "thinkmorph"
    assert cli("--output", "r.json", "--add").exit_code == 0
    found = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert [case["mix"] for case in found["cases"]] == ["lvr", "thinkmorph"]
    assert len(found["calls"]) == 2


def test_records_of_several_calls_share_a_page(cli, tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps(record()), encoding="utf-8")
    done = cli("page", "a.json", "b.json", "--output", "both.html")
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "both.html").read_text(encoding="utf-8").count("<section") == 2


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--shape", "tinny"), 2, "Did you mean 'tiny'"),
        (("--mix", "lvrr"), 2, "Did you mean 'lvr'"),
        (("--variant", "perl"), 2, "Did you mean 'pearl'"),
        (("--against", "nowhere.json", *LITTLE), 1, "There is no record nowhere.json"),
        (("--shape", "3b", "--device", "meta", "--variant", "pearl_separate"), 1, "cannot be counted"),
        (("--add", "--output", "nowhere.json", *LITTLE), 1, "There is no record"),
        (("page", "nowhere.json"), 1, "There is no record"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_message_and_nothing_is_written(words, code, message, cli, tmp_path):
    done = cli(*words)
    assert done.exit_code == code, done.stderr
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []
