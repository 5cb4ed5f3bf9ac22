"""``jepa-vlm backbones``: a list, and a verdict with an exit code."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from jepa_vlm.adapters.names import BACKBONES, UNVERIFIED
from jepa_vlm.cli.app import app
from jepa_vlm.cli.backbones import line, passed, table
from jepa_vlm.conformance import CheckResult

NAME = "tiny-random-mllama"


@pytest.fixture
def cli():
    """Run a command in this process."""
    return lambda *words: CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, list(words))


def results(verdict="pass"):
    return (
        CheckResult("first", "one", verdict, "2 is 2", "nothing can be trusted" if verdict == "fail" else ""),
        CheckResult("engines", "one_pass equals separate", "not applicable", "separate passes only"),
    )


def test_the_list_says_what_was_verified_on_real_weights(cli):
    listed = json.loads(cli("backbones", "list", "--json").stdout)["backbones"]
    public = {name: each for name, each in listed.items() if each["hub_id"]}
    assert {"qwen2.5-vl-3b", "qwen2.5-vl-7b", "qwen3-vl-4b"} <= set(public)
    assert {each["verified"] for each in public.values()} == {UNVERIFIED}
    assert all(each["visual_tokens"] and each["template"] for each in public.values())
    text = cli("backbones").stdout
    assert "Qwen/Qwen2.5-VL-3B-Instruct" in text
    assert "nothing yet" in text


@pytest.mark.parametrize("option", ["--json", "--markdown", None])
def test_verify_prints_a_line_when_a_check_ends(cli, monkeypatch, option):
    def one_by_one(name, *, after_each, **settings):
        for result in results():
            after_each(result)
        return results()

    monkeypatch.setattr("jepa_vlm.conformance.verify", one_by_one)
    done = cli("backbones", "verify", NAME, *([option] if option else []))
    assert done.exit_code == 0, done.stderr
    lines = (done.stderr if option else done.stdout).splitlines()
    assert lines[0] == NAME
    assert [words.split()[:2] for words in lines[1:3]] == [["PASS", "first"], ["NOT", "APPLICABLE"]]
    assert lines[3].strip() == "1 of 1 checks pass"
    if option == "--json":
        assert [each["verdict"] for each in json.loads(done.stdout)["backbones"][NAME]] == ["pass", "not applicable"]


def test_verify_runs_the_checks_that_are_named(cli):
    done = cli("backbones", "verify", NAME, "--only", "prompt,tokens", "--json")
    assert done.exit_code == 0, done.stderr
    assert [each["key"] for each in json.loads(done.stdout)["backbones"][NAME]] == ["prompt", "tokens"]
    assert cli("backbones", "verify", NAME, "--only", "promt").exit_code == 2
    assert cli("backbones", "verify", NAME, "--only", "prompt", "--markdown").exit_code == 2


def test_a_failure_says_what_it_means_and_exits_with_1(cli, monkeypatch):
    def failing(name, *, after_each, **settings):
        after_each(results("fail")[0])
        return results("fail")

    monkeypatch.setattr("jepa_vlm.conformance.verify", failing)
    done = cli("backbones", "verify", NAME)
    assert done.exit_code == 1
    assert "if it does not hold, nothing can be trusted" in done.stdout
    assert "0 of 1 checks pass" in done.stdout


def test_the_table_has_a_row_for_each():
    found = table({NAME: results(), "a/folder": results("fail")}).splitlines()
    assert found[2] == (
        "| `mllama` | `tiny-random-mllama` | separate | 1 of 1 | one_pass equals separate: separate passes only |"
    )
    assert found[3].startswith("| `a/folder` | `a/folder` | separate | 0 of 1 | one: 2 is 2;")
    assert passed(results()) == "1 of 1"
    assert line(results()[0]).split() == ["PASS", "first", "one:", "2", "is", "2"]


def test_every_public_checkpoint_is_of_a_family_with_an_adapter():
    from jepa_vlm.adapters import ADAPTERS
    from jepa_vlm.adapters import loading as loading

    assert {named.family for named in BACKBONES.values()} <= set(ADAPTERS)
