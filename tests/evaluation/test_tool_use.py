from __future__ import annotations

import json

import pytest

from jepa_vlm.adapters import load_backbone
from jepa_vlm.evaluation import evaluate, load_benchmark, load_protocol
from jepa_vlm.evaluation import scoring as module
from jepa_vlm.evaluation.scoring import default_loop, total_use
from jepa_vlm.generation import LetterAnswer
from jepa_vlm.generation.tool_loop import ToolAnswer, ToolUse
from jepa_vlm.playground.tools import TOOLS
from tests.suites import write_mmvp


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("tiny-random-qwen2.5-vl", seed=0)


@pytest.fixture
def answered(monkeypatch):
    """Answers as from a model that calls once, fails once, and is then stopped."""

    def answers(backbone, items, loop, *, batch_size):
        assert loop.max_calls == 3
        return [ToolAnswer(i.id, "\\boxed{B}", ("look", "\\boxed{B}"), ToolUse(2, 1, 9, "calls")) for i in items]

    monkeypatch.setattr(module, "answer_with_tools", answers)


def test_counts_are_recorded_and_kept(backbone, answered, tmp_path):
    items = load_benchmark(f"mmvp:{write_mmvp(tmp_path / 'mmvp')}", protocol="pixel-reasoner")
    rules = load_protocol("pixel-reasoner", benchmark="mmvp")
    options = {"protocol": rules, "benchmark": "mmvp:x", "batch_size": 3, "samples": tmp_path / "out"}
    found = evaluate(backbone, items, **options)["tools"]
    assert found.tool_use == {"calls": 8, "failures": 4, "tokens": 36, "ended by a limit": 4}
    assert [answer.predicted for answer in found.answers] == ["B"] * 4
    assert found.overall.correct == 2
    assert found.protocol.tools == "crop_image, crop_image_normalized, select_frames; 3 calls"
    assert found.protocol.max_pixels == 4_014_080
    row = json.loads((tmp_path / "out/tools_samples_mmvp.jsonl").read_text().splitlines()[0])
    assert row["tool_use"] == {"calls": 2, "failures": 1, "tokens": 9, "stopped": "calls"}
    assert evaluate(backbone, items, **options)["tools"] == found  # read from the lines


def test_the_playground_offers_its_own_tools(backbone):
    assert set(default_loop("playground:maze").tools) == set(TOOLS)
    assert "crop_image" in default_loop("vstar:x").tools
    items = load_benchmark("playground:visual-search", count=2)
    found = evaluate(backbone, items, scorings=["tools", "letter-logits"], benchmark="playground:visual-search")
    assert found.scorings == ("tools", "letter-logits")
    assert found["tools"].tool_use["calls"] == 0
    assert found["letter-logits"].tool_use is None


def test_the_playground_is_asked_to_look_closely_as_in_training(backbone, monkeypatch):
    asked = []

    def answers(backbone, items, loop, *, batch_size):
        asked.extend(item.prompt for item in items)
        return [ToolAnswer(i.id, "A", ("A",), ToolUse(0, 0, 1, "answered")) for i in items]

    monkeypatch.setattr(module, "answer_with_tools", answers)
    items = load_benchmark("playground:visual-search", count=2)
    evaluate(backbone, items, scorings=["tools"], benchmark="playground")
    assert asked == [item.prompt.replace("Answer with the letter.", "Look closely first.") for item in items]
    assert asked[0] != items[0].prompt


def test_total_use_by_hand():
    assert total_use([LetterAnswer("a", None, "")]) is None
    uses = [ToolUse(1, 0, 5, "answered"), ToolUse(3, 2, 7, "images")]
    found = total_use([LetterAnswer("a", "A", "", use) for use in uses])
    assert found == {"calls": 4, "failures": 2, "tokens": 12, "ended by a limit": 1}
