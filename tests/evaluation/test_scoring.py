from __future__ import annotations

import platform

import pytest
import torch
from PIL import Image

from jepa_vlm.adapters import load_backbone
from jepa_vlm.errors import BackboneError, DataError, UnknownNameError
from jepa_vlm.evaluation import Evaluation, evaluate, load_benchmark, scoring
from jepa_vlm.generation import LetterAnswer
from jepa_vlm.trajectories import LazyImage, MultipleChoice
from tests.factories import opens_a_thought


def item(name: str, *, task: str, options: int, answer: int) -> MultipleChoice:
    image = LazyImage(pixels=Image.new("RGB", (16, 16)))
    return MultipleChoice(
        id=name, images=(image,), prompt="?", options=tuple("wxyz"[:options]), answer=answer, task=task
    )


def test_accuracy_counts_by_hand(backbone, monkeypatch):
    items = [
        item("a", task="search", options=4, answer=0),
        item("b", task="search", options=4, answer=1),
        item("c", task="maze", options=2, answer=1),
    ]
    said = {"a": "A", "b": None, "c": "A"}

    def answers(backbone, items, *, scorings, **_):
        return {name: [LetterAnswer(i.id, said[i.id], "...") for i in items] for name in scorings}

    monkeypatch.setattr(scoring, "answers_by_scoring", answers)
    scored = evaluate(backbone, items, scorings=["free"])["free"]
    assert [(a.truth, a.predicted, a.correct, a.parse_failed) for a in scored.answers] == [
        ("A", "A", True, False),
        ("B", None, False, True),
        ("B", "A", False, False),
    ]
    assert (scored.overall.correct, scored.overall.n) == (1, 3)
    assert scored.overall.chance == pytest.approx((1 / 4 + 1 / 4 + 1 / 2) / 3)
    assert scored.parse_failure_rate == pytest.approx(1 / 3)
    assert list(scored.tasks) == ["maze", "search"]
    assert (scored.tasks["maze"].value, scored.tasks["search"].value) == (0.0, 0.5)
    # Wilson for 1 of 2 at z = 1.96: 0.5 -+ sqrt(0.125 z^2 + z^4 / 16) / (2 + z^2)
    assert scored.tasks["search"].low == pytest.approx(0.0945, abs=1e-3)
    assert scored.tasks["search"].high == pytest.approx(0.9055, abs=1e-3)


def test_a_template_that_opens_a_thought_is_refused_or_noted(tmp_path):
    """Letters cannot be compared inside of a thought; what the model writes behind its own prompt can be read."""
    thinking = load_backbone("tiny-random-qwen2.5-vl", seed=0)
    opens_a_thought(thinking.processor)
    items = [item("a", task="search", options=4, answer=0)]
    for compared in (None, ["short"], ["free", "letter-logits"]):
        with pytest.raises(BackboneError, match=r"<think>.*can be read by the scoring 'free'"):
            evaluate(thinking, items, scorings=compared, samples=tmp_path / "none")
    assert not (tmp_path / "none").exists()
    found = evaluate(thinking, items, scorings=["free"])
    assert "<think>" in found.notes[0]
    found.to_json(tmp_path / "found.json")
    assert Evaluation.from_json(tmp_path / "found.json") == found


def test_the_playground_is_answered_and_recorded(backbone, tmp_path):
    items = load_benchmark("playground", count=6, seed=1)
    found = evaluate(backbone, items, scorings=["letter-logits", "short"], benchmark="playground", seed=1, batch_size=4)
    assert found.scorings == ("letter-logits", "short")
    assert [a.id for a in found["short"].answers] == [i.id for i in items]
    assert found["letter-logits"].overall.chance == pytest.approx(0.25)
    assert (found.benchmark, found.backbone, found.seed) == ("playground", "tiny-random-qwen2.5-vl", 1)
    assert found.versions["torch"] == torch.__version__
    assert found.versions["python"] == platform.python_version()
    assert {"jepa_vlm", "transformers", "peft", "platform"} <= found.versions.keys()
    assert found["short"].protocol.max_new_tokens == 4
    assert found["short"].protocol.max_pixels == backbone.processor.image_processor.size["longest_edge"]
    found.to_json(tmp_path / "evaluation.json")
    assert Evaluation.from_json(tmp_path / "evaluation.json") == found


def test_a_playground_benchmark_may_be_one_task():
    assert {item.task for item in load_benchmark("playground:visual-search", count=4)} == {"visual-search"}


def test_the_same_seed_gives_the_same_items():
    first, again, other = (load_benchmark("playground", count=5, seed=seed) for seed in (1, 1, 2))
    assert [i.prompt for i in first] == [i.prompt for i in again]
    assert [i.id for i in first] != [i.id for i in other]


def test_unknown_benchmarks_and_tasks_have_different_messages():
    with pytest.raises(UnknownNameError, match="Did you mean 'playground'"):
        load_benchmark("plaground")
    with pytest.raises(UnknownNameError, match="visual-search"):
        load_benchmark("playground:visual-serch")
    with pytest.raises(ValueError, match="count must be at least 1"):
        load_benchmark("playground", count=0)


def test_evaluations_that_cannot_be_measured_are_refused(backbone):
    one = item("a", task="", options=2, answer=0)
    with pytest.raises(DataError, match="no items"):
        evaluate(backbone, [], benchmark="empty")
    with pytest.raises(DataError, match="'a' is used more than once"):
        evaluate(backbone, [one, one])
    with pytest.raises(ValueError, match="each once"):
        evaluate(backbone, [one], scorings=[])


def test_a_prompt_with_a_special_token_is_refused(backbone):
    image = LazyImage(pixels=Image.new("RGB", (16, 16)))
    held = MultipleChoice(id="a", images=(image,), prompt="<|image_pad|> ?", options=("x", "y"), answer=0)
    with pytest.raises(DataError, match=r"'a' holds the backbone's special token '<\|image_pad\|>'"):
        evaluate(backbone, [held])


def test_progress_is_reported_after_each_batch(backbone):
    told = []
    items = [item(str(i), task="", options=2, answer=0) for i in range(5)]
    evaluate(backbone, items, batch_size=2, progress=told.append)
    assert told == [2, 2, 1]
