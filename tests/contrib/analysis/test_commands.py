"""``jepa-vlm analyse``: files, what is said, and what is refused."""

from __future__ import annotations

import csv
import json
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from jepa_vlm.cli.app import app
from tests.cli.test_app import TINY
from tests.contrib.analysis.test_embedding_reader import write_run
from tests.factories import made_evaluation
from tests.trajectories.formats.files import make_root, write_example


@pytest.fixture
def cli(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, ["analyse", *words])


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_latent_counts_of_files_and_of_a_playground(cli, tmp_path):
    spec = f"{write_example('lvr', make_root(tmp_path))},playground:visual-search"
    done = cli("latent-counts", spec, "--backbone", TINY, "--count", "10", "--inference", "2,4", "--output", "out")
    assert done.exit_code == 0, done.stderr
    numbers = json.loads((tmp_path / "out/latent-counts.json").read_text())
    assert (numbers["lvr"]["examples"], numbers["lvr"]["per_call"]["count"]) == (3, 3)
    assert (numbers["playground"]["examples"], numbers["playground"]["boxless"]) == (10, 3)
    assert set(numbers["playground"]["per_example"]["share_above"]) == {"2", "4"}
    held = rows(tmp_path / "out/latent-counts.csv")
    assert sum(int(r["count"]) for r in held if (r["source"], r["unit"]) == ("playground", "call")) == 7
    ElementTree.parse(tmp_path / "out/latent-counts.svg")
    assert "ABOVE 2" in done.stdout
    wrong = cli("latent-counts", spec, "--inference", "4,x")
    assert (wrong.exit_code, "Numbers must be whole" in wrong.stderr) == (2, True)


def test_embeddings_of_two_models_then_collapse_of_their_files(cli, tmp_path):
    write_run(tmp_path / "pearl", "pearl", tokens=2)
    data = ("--data", "playground:mixture", "--count", "12")
    done = cli("embeddings", "pearl", TINY, *data, "--output", "out", "--json")
    assert done.exit_code == 0, done.stderr
    assert "read in different ways (pearl: its own prediction; " in done.stderr
    found = json.loads(done.stdout)
    assert [one["name"] for one in found["models"]] == ["pearl", TINY]
    assert found["files"] == [
        f"out/{name}"
        for name in (
            "embeddings.json",
            "embeddings.csv",
            "embeddings.svg",
            "agreement.csv",
            "pearl.safetensors",
            f"{TINY}.safetensors",
        )
    ]
    n = found["models"][0]["examples"]
    assert 2 <= n <= 12
    assert len(rows(tmp_path / "out/embeddings.csv")) == 2 * 2 * n
    each = rows(tmp_path / "out/agreement.csv")
    own, other = ([float(r["alignment"]) for r in each if r["name"] == name] for name in ("pearl", TINY))
    apart = found["first_minus"][TINY]["alignment"]["value"]
    assert apart == pytest.approx((sum(own) - sum(other)) / n)
    ElementTree.parse(tmp_path / "out/embeddings.svg")

    wrong = cli("embeddings", "out/pearl.safetensors", "--perplexity", str(2 * n))
    assert (wrong.exit_code, f"less than the {2 * n} points" in wrong.stderr) == (2, True)

    panel = cli("collapse", "out/pearl.safetensors", "--output", "out")
    assert panel.exit_code == 0, panel.stderr
    assert json.loads((tmp_path / "out/collapse.json").read_text())["models"][0]["name"] == "pearl"
    assert rows(tmp_path / "out/collapse.csv")[0]["figure"] == "spectrum"
    ElementTree.parse(tmp_path / "out/collapse.svg")


def test_a_backbone_has_no_data_of_its_own(cli):
    done = cli("collapse", TINY)
    assert (done.exit_code, "name some with --data" in done.stderr) == (1, True)


def test_latent_steps_of_saved_evaluations(cli, tmp_path):
    for name, right in (("plain", "1100"), ("own", "1111"), ("noise", "1000")):
        made_evaluation(right).to_json(tmp_path / f"{name}.json")
    done = cli("latent-steps", "0=plain.json", "4=own.json", "4:noise=noise.json")
    assert done.exit_code == 0, done.stderr
    numbers = json.loads((tmp_path / "analysis/latent-steps.json").read_text())
    # three items that the model's own latents alone got right: 2 / 2^3
    assert numbers["points"][2]["against_real"]["p_value"] == pytest.approx(0.25)
    assert [row["steps"] for row in rows(tmp_path / "analysis/latent-steps.csv")] == ["0", "4", "4"]
    ElementTree.parse(tmp_path / "analysis/latent-steps.svg")
    for words in (("4=own.json", "plain.json"), ("4:odd=own.json",), ("0:noise=own.json",)):
        wrong = cli("latent-steps", *words)
        assert (wrong.exit_code, "STEPS=FILE" in wrong.stderr) == (2, True)


@pytest.mark.slow
def test_latent_steps_of_a_run(cli, tmp_path):
    write_run(tmp_path / "lvr", "lvr")
    words = ("latent-steps", "lvr", "--on", "playground:visual-search", "--steps", "0,2", "--questions", "6")
    words += ("--entry", "forced")
    done = cli(*words, "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    shares = {(one["control"], one["steps"]): one["ran"] for one in found["points"]}
    assert shares == {("none", 0): None, ("none", 2): 1.0, ("noise", 2): 1.0, ("dropped", 2): 0.0}
    assert all(one["accuracy"]["n"] == 6 for one in found["points"])
    saved = tmp_path / "analysis/answers"
    evaluations = {f"{folder.name.replace('-', ':')}={next(folder.glob('*.json'))}" for folder in saved.iterdir()}
    again = cli("latent-steps", *sorted(evaluations), "--output", "again", "--json")
    assert json.loads(again.stdout)["points"] == found["points"]
    wrong = cli("latent-steps", TINY)
    assert (wrong.exit_code, "takes no latent steps" in wrong.stderr) == (1, True)
    for odd in (("--steps", "2,x"), ("--controls", "silence")):
        assert cli("latent-steps", "lvr", *odd).exit_code == 2
