"""The report of a run: what its files hold is on the page, and losses by source."""

from __future__ import annotations

import json

import pytest

from jepa_vlm.errors import DataError, RunError
from jepa_vlm.evaluation import Accuracy, Evaluation, MarkedAnswer, Protocol, Scored
from jepa_vlm.report import save_examples, write_run_report
from jepa_vlm.report.recorded_run import read_run
from jepa_vlm.report.run_report import source_losses


def evaluation(letters: str, *, text: str = "", ids: str = "item") -> Evaluation:
    """Make an evaluation of items whose right answer is A, answered with these letters."""
    answers = tuple(
        MarkedAnswer(
            id=f"{ids}-{i}",
            task="search",
            truth="A",
            predicted=letter,
            correct=letter == "A",
            text=text,
            parse_failed=False,
        )
        for i, letter in enumerate(letters)
    )
    n, correct = len(letters), letters.count("A")
    overall = Accuracy(value=correct / n, correct=correct, n=n, low=0.11, high=0.77, chance=0.25)
    scored = Scored(
        protocol=Protocol(scoring="free", max_new_tokens=32),
        answers=answers,
        overall=overall,
        tasks={"search": overall},
        parse_failure_rate=0.125,
    )
    return Evaluation(
        benchmark="playground:visual-search",
        backbone="x",
        seed=0,
        scored=(scored,),
        versions={"torch": "2.13"},
        commit="abc123",
    )


def rows() -> list[dict]:
    monitors = [(0, 0.5, 0.4), (10, 0.9, 0.3), (20, 0.8, 0.35)]
    total = {0: 3.0, 10: 1.25, 20: 1.5}
    held_out = [
        {
            "kind": "validation",
            "step": step,
            "loss": total[step],
            "terms": {"latent_prediction": {"raw": total[step] / 2, "weighted": 0.1, "count": 4}},
            "monitors": {
                "latent_prediction": {
                    **{"matched_cosine": matched, "shuffled_cosine": shuffled, "kinds": 4, "compared": 126, "alone": 2},
                    **{"explained_within_kind": matched / 3, "predicted_norm_within_kind": 1.0},
                    **{"target_norm_within_kind": 2.0 - 1.5 * matched},
                },
                "expert_distillation": {"matched_loss_depth": 1.0, "shuffled_loss_depth": 1.0 + shuffled},
            },
        }
        for step, matched, shuffled in monitors
    ]
    train = [
        {"kind": "train", "step": s, "loss": 3.0 / s, "terms": {"latent_prediction": {"raw": 1.0 / s, "weighted": 0.2}}}
        for s in (1, 2, 3)
    ]
    return held_out + train


@pytest.fixture
def folder(tmp_path, item, trajectory, evil):
    def resolved(value, origin):
        return {"value": value, "origin": origin}

    config = {
        "recipe": resolved("pearl", "user"),
        "backbone": resolved(f"tiny {evil}", "default"),
        "learning_rate": resolved(5e-4, "backbone profile"),
        "versions": {"torch": "2.14"},
        "command": ["jepa-vlm", "recipe", "pearl", "--output", "my runs/a"],
        "trainable": {"heads": 99},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    evaluation("BBBA").to_json(tmp_path / "evaluation_before.json")
    evaluation("AAAB", text=f"A {evil}").to_json(tmp_path / "evaluation.json")
    save_examples(tmp_path, [item], [trajectory])
    return tmp_path


def test_a_whole_run(folder, page, evil):
    path = write_run_report(folder)
    assert path == folder / "report.html"
    found = page(path)
    found.check_self_contained()
    text = " ".join(found.text.split())
    assert "pearl on tiny &lt;script&gt;" in text
    assert '<b>25.0%</b> <span class="soft">11.0% – 77.0%</span>' in text  # before
    assert "<b>75.0%</b>" in text  # after
    assert "+50.0" in text
    assert "Of 4 items, 3 became right and 1 became wrong; exact McNemar test, two-sided: p = 0.625." in text
    assert "before 12.5%, after 12.5%" in text
    assert "jepa-vlm recipe pearl --output &#39;my runs/a&#39;" in text
    assert "2.14" in text
    assert "abc123" in text
    assert "backbone profile" in text
    assert "trainable.heads" in text
    assert len([tag for tag, _ in found.elements if tag == "svg"]) == 3
    assert len([tag for tag, _ in found.elements if tag == "img"]) == 2


def cells(text: str, label: str) -> list[str]:
    row = next(part for part in text.split("<tr>") if f"<td>{label}</td>" in part).split("</tr>")[0]
    return [cell.split(">", 1)[1].split("</td>")[0] for cell in row.split("<td")[1:]]


def test_held_out_numbers_are_first_lowest_and_last(folder):
    text = write_run_report(folder).read_text()
    assert "lowest total (step 10)" in text
    assert cells(text, "total (weighted sum)") == ["total (weighted sum)", "3", "1.25", "1.5", "-1.5"]
    assert cells(text, "latent_prediction")[1:] == ["1.5", "0.625", "0.75", "-0.75"]
    gap = cells(text, "matched − shuffled cosine, all kinds")
    assert gap[2:] == ["0.1", "0.6", "0.45", "+0.35"]
    assert cells(text, "matched − shuffled loss depth")[2:] == ["-0.4", "-0.3", "-0.35", "+0.05"]
    assert "The prediction explains 30% of what differs between examples of a kind." in text
    assert "(Held out: 126 compared in 4 kinds; 2 left out that are alone in theirs.)" in text


def test_an_empty_folder_invents_nothing(tmp_path, page):
    found = page(write_run_report(tmp_path))
    found.check_self_contained()
    assert "Run on an unnamed backbone" in found.text
    assert found.text.count("not measured") == 3  # accuracy, held-out losses, monitors
    assert found.text.count("not recorded") == 9  # 5 facts, examples, configuration, command, commit
    assert "svg" not in {tag for tag, _ in found.elements}
    assert "%" not in found.text.split("<main>")[1]


def test_only_after_was_measured(folder, page):
    (folder / "evaluation_before.json").unlink()
    text = page(write_run_report(folder)).text
    assert "Only one of the two was measured" in text
    assert "McNemar" not in text
    assert 'before <span class="none">not measured</span>' in text


def test_evaluations_of_other_items_are_not_compared(folder, page):
    evaluation("AAAB", ids="other").to_json(folder / "evaluation.json")
    text = page(write_run_report(folder)).text
    assert "Not compared item by item" in text
    assert "p = " not in text


def test_losses_that_are_not_finite_are_shown_as_such(folder, page):
    row = rows()[0] | {"loss": float("nan")}
    (folder / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    text = page(write_run_report(folder)).text
    assert cells(text, "total (weighted sum)")[1] == "not finite"
    assert "lowest total (step" not in text


def test_an_item_without_an_expert(tmp_path, page, item):
    save_examples(tmp_path, [item])
    found = page(write_run_report(tmp_path))
    assert len([tag for tag, _ in found.elements if tag == "img"]) == 1
    assert "What is it?" in found.text


def test_the_report_can_be_written_twice(folder):
    assert write_run_report(folder).read_text() == write_run_report(folder).read_text()


def test_damaged_files_are_named(folder, tmp_path):
    (folder / "examples.json").write_text('[{"id": 1}]')
    with pytest.raises(DataError, match=r"examples\.json does not hold examples"):
        write_run_report(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(RunError, match=r"config\.json is not JSON"):
        write_run_report(folder)
    (folder / "config.json").write_text("[]")
    with pytest.raises(RunError, match="must hold a JSON object, got list"):
        write_run_report(folder)
    with pytest.raises(RunError, match="gone does not exist"):
        write_run_report(tmp_path / "gone")


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
