from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from jepa_vlm.adapters import load_backbone
from jepa_vlm.adapters.processors import save_processor
from jepa_vlm.cli.app import app
from jepa_vlm.evaluation import scoring
from jepa_vlm.generation import Plain
from jepa_vlm.training.checkpoint import write_inference
from tests.suites import write_blink, write_mmvp, write_vstar

TINY = "tiny-random-qwen2.5-vl"


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("suites")
    return f"vstar:{write_vstar(root / 'v')},mmvp:{write_mmvp(root / 'm')},blink:{write_blink(root / 'b')}"


@pytest.fixture
def cli(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, list(words))


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_three_benchmarks_under_the_papers_protocol(cli, places, tmp_path):
    done = cli("evaluate", TINY, "--on", places, "--protocol", "pearl-paper", "--output", "out", "--json")
    assert done.exit_code == 0, done.stderr
    found = {spec.partition(":")[0]: one["short"] for spec, one in json.loads(done.stdout)["accuracy"].items()}
    assert [found[name]["overall"]["n"] for name in ("vstar", "mmvp", "blink")] == [5, 4, 10]
    assert {task: one["n"] for task, one in found["vstar"]["tasks"].items()} == {
        "direct_attributes": 3,
        "relative_position": 2,
    }
    assert found["mmvp"]["groups"]["n"] == 2
    assert set(found["blink"]["tasks"]) == {"Counting", "IQ_Test", "Jigsaw", "Relative_Reflectance", "Spatial_Relation"}
    assert found["vstar"]["parse_failure_rate"] == 0
    assert "is not as published, nor comparable with published numbers: direct_attributes has 3 of 115" in done.stderr
    written = json.loads((tmp_path / "out/vstar.json").read_text())
    assert written["published"] == {"direct_attributes": 115, "relative_position": 76}
    assert written["scored"][0]["protocol"]["name"] == "pearl-paper-1"
    assert {"short_samples_vstar.jsonl", "short_samples_mmvp.jsonl", "short_samples_blink.jsonl"} <= set(
        files(tmp_path / "out")
    )


def test_the_table_names_protocol_tasks_and_groups(cli, places):
    done = cli("evaluate", TINY, "--on", places, "--protocol", "pearl-released:boxed", "--scoring", "letter-logits")
    assert done.exit_code == 0, done.stderr
    rows = [line.split("  ") for line in done.stdout.splitlines()]
    said = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert [row[2] for row in said if row[0].startswith("mmvp")] == ["all", "whole groups"] * 2
    assert said[1][1] == "free (pearl-released:boxed-1)"
    assert said[4][1] == "letter-logits (pearl-released:boxed-1)"


def test_the_papers_rows_beside_a_finished_evaluation(cli, places):
    words = ("evaluate", TINY, "--on", places, "--protocol", "pearl-paper", "--scoring", "letter-logits")
    done = cli(*words, "--beside-paper")
    assert done.exit_code == 0, done.stderr
    said = done.stdout.partition("Beside the paper")[2]
    for expected in (
        "V* attributes",
        "Pearl, ThinkMorph data",
        "81.5*",
        "V* 5 of 191",
        "does not state its resolution",
    ):
        assert expected in said
    found = json.loads(cli(*words, "--beside-paper", "--json").stdout)["paper"]
    assert found["measured"]["MMVP"]["accuracy"]["n"] == 4
    assert found["measured"]["Jigsaw"]["scoring"] == "short"


def test_interrupted_and_restarted_gives_the_same_files(cli, places, tmp_path, monkeypatch):
    words = ("evaluate", TINY, "--on", places, "--protocol", "pearl-paper", "--batch-size", "2")
    assert cli(*words, "--output", "whole").exit_code == 0
    ask, asked = scoring.answers_by_scoring, []

    def interrupted(*words, **options):
        asked.append(1)
        if len(asked) == 5:
            raise KeyboardInterrupt
        return ask(*words, **options)

    monkeypatch.setattr(scoring, "answers_by_scoring", interrupted)
    assert cli(*words, "--output", "part").exit_code != 0
    assert cli(*words, "--output", "part").exit_code == 0
    assert len(asked) == 10 + 1  # 3 + 2 + 5 batches, one of them twice
    assert files(tmp_path / "part") == files(tmp_path / "whole")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--on", "vstar"), 1, "vstar needs the place of its files"),
        (("--on", "vstar:a,vstar:b"), 2, "vstar is named twice"),
        (("--on", "playground", "--protocol", "lvr"), 1, "The prompts of playground are its own"),
        (("--on", "vstar:nowhere", "--protocol", "lvrr"), 2, "Did you mean 'lvr'"),
        (("--on", "mmvp:nowhere"), 1, "Folder nowhere does not exist"),
        (("--beside-paper",), 2, "--beside-paper needs one of vstar, mmvp, blink in --on, got playground"),
    ],
)
def test_refusals(cli, words, code, message):
    done = cli("evaluate", TINY, *words)
    assert (done.exit_code, message in " ".join(done.stderr.split())) == (code, True), done.stderr


def test_a_model_with_an_opening_and_one_without_are_compared_under_the_same_limits(cli, tmp_path):
    backbone = load_backbone(TINY, added_tokens=("<|a|>",))
    backbone.base.save_pretrained(tmp_path / "writing")
    save_processor(backbone.processor, tmp_path / "writing", video_processor=backbone.adapter.video_processor)
    opening = Plain(prefix="so <|a|><|a|>", tokens=("<|a|>",))
    write_inference(tmp_path / "writing", opening)
    done = cli("evaluate", "writing", "--against", TINY, "--on", "playground:maze", "--questions", "4", "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    for one in (found["accuracy"], found["against"]["accuracy"]):
        assert list(one["playground:maze"]) == ["free", "letter-logits"]
        assert one["playground:maze"]["free"]["opening_use"] == {"whole": 0, "some": 0}
    assert found["against"]["mcnemar"]["playground:maze"]["free"]["n"] == 4
    alone = cli("evaluate", "writing", "--on", "playground:maze", "--questions", "4")
    assert "playground:maze, free: written whole in 0 of 4 answers, some of it in 0" in alone.stdout.splitlines()
