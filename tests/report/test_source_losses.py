from __future__ import annotations

import json

from jepa_vlm.report import write_run_report
from jepa_vlm.report.recorded_run import read_run
from jepa_vlm.report.source_losses import source_losses


def write_metrics(folder, evil=""):
    def row(kind, step, **values):
        own = {
            name: {"terms": {"next_token": {"raw": raw, "weighted": raw, "count": 3}}} for name, raw in values.items()
        }
        terms = {"next_token": {"raw": 2.0, "weighted": 2.0, "count": 6}}
        return {"kind": kind, "step": step, "loss": 2.0, "terms": terms, "monitors": {}, "sources": own}

    rows = [
        row("validation", 0, lvr=3.5, **{f"think{evil}": 2.5}),
        row("train", 1, lvr=3.25),
        row("train", 2, lvr=1.75),
        row("validation", 2, lvr=1.5, **{f"think{evil}": 2.25}),
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_first_and_last_values_by_term_and_source(tmp_path):
    write_metrics(tmp_path)
    found = source_losses(read_run(tmp_path))
    assert found["rows"] == [
        ("next_token", "lvr", (3.25, 1.75, 3.5, 1.5)),
        ("next_token", "think", (None, None, 2.5, 2.25)),
    ]
    assert found["svg"].count("<svg") == 1


def test_a_page_has_the_sources_and_escapes_their_names(tmp_path, page, evil):
    write_metrics(tmp_path, evil)
    found = page(write_run_report(tmp_path))
    found.check_self_contained()
    assert "Loss terms by source" in found.text
    assert "<td>lvr</td>" in found.text


def test_without_a_mixture_there_is_no_section(tmp_path, page):
    (tmp_path / "metrics.jsonl").write_text('{"kind": "train", "step": 1, "loss": 1.0, "terms": {}}\n')
    assert source_losses(read_run(tmp_path)) == {"svg": None, "rows": []}
    assert "Loss terms by source" not in page(write_run_report(tmp_path)).text
