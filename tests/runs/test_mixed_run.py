"""Runs on files as they are downloaded, alone and mixed: they train, and losses are logged for each source."""

from __future__ import annotations

import pytest

import jepa_vlm as jv
from jepa_vlm.training.metrics import read_metrics
from tests.trajectories.formats.files import make_root, write_example

ASKED = {"backbone": "tiny-random-qwen2.5-vl", "steps": 2, "batch_size": 4, "validate_every": 1, "questions": 0}


@pytest.mark.slow
def test_a_mixture_of_three_trains_and_logs_each_source(tmp_path):
    root = make_root(tmp_path)
    specs = [write_example(name, root, 6) for name in ("lvr", "thinkmorph", "pixelreasoner")]
    data = f"{specs[0]}*2,{specs[1]},{specs[2]}*0.5"
    jv.train("pearl", data=data, output=tmp_path / "run", **ASKED)
    rows = [row for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if row["kind"] == "validation"]
    assert [row["step"] for row in rows] == [0, 1, 2]
    for row in rows:
        assert list(row["sources"]) == ["lvr", "thinkmorph", "pixelreasoner"]
        for name, term in row["terms"].items():
            parts = [source["terms"][name] for source in row["sources"].values()]
            assert term["count"] == sum(part["count"] for part in parts)
            mean = sum(part["raw"] * part["count"] for part in parts) / term["count"]
            assert term["raw"] == pytest.approx(mean, rel=1e-9)
        assert len({source["loss"] for source in row["sources"].values()}) == 3
    trained = [row for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if row["kind"] == "train"]
    for row in trained:  # a row for each step: the whole is the mean of the parts
        for name, term in row["terms"].items():
            parts = [source["terms"][name] for source in row["sources"].values() if name in source["terms"]]
            mean = sum(part["raw"] * part["count"] for part in parts) / sum(part["count"] for part in parts)
            assert term["raw"] == pytest.approx(mean, rel=1e-5)
            assert all(part["raw"] > 0 for part in parts)
    seen = {name for row in trained for name in row["sources"]}
    assert seen == {"lvr", "thinkmorph", "pixelreasoner"}
    examples = [source["terms"]["latent_prediction"]["count"] for row in trained for source in row["sources"].values()]
    assert sum(examples) == 2 * 4
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Loss terms by source" in page


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lvr", "mirage", "thinkmorph", "pixelreasoner", "viscot", "covt", "messages"])
def test_every_format_trains(tmp_path, name):
    spec = write_example(name, make_root(tmp_path), 6)
    jv.train("pearl", data=spec, output=tmp_path / "run", **ASKED)
    (last,) = [
        r for r in read_metrics(tmp_path / "run" / "metrics.jsonl") if r["kind"] == "validation" and r["step"] == 2
    ]
    assert last["loss"] > 0
    assert "sources" not in last
