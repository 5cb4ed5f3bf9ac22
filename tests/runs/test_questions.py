"""Who is asked what, and how a model answers by itself."""

from __future__ import annotations

import json

import pytest

from jepa_vlm.evaluation import load_protocol
from jepa_vlm.generation import Plain
from jepa_vlm.runs.questions import load_model, own_answering, own_scoring, questions_of


@pytest.fixture
def run(tmp_path):
    def written(inference, **more):
        path = tmp_path / "inference.json"
        path.unlink(missing_ok=True)
        if inference is not None:
            path.write_text(json.dumps({"inference": inference, **more}))
        return str(tmp_path)

    return written


def test_a_run_answers_as_its_recipe_does(run):
    rules = load_protocol("pearl-paper", benchmark="vstar")
    assert own_scoring(run("tools"), None) == own_scoring(run("tools"), rules) == "tools"
    assert (own_scoring(run("plain"), None), own_scoring(run("plain"), rules)) == ("letter-logits", "short")
    assert own_scoring(run(None), None) == "letter-logits"  # a run of before, or a plain model folder
    assert own_scoring("tiny-qwen2.5-vl", rules) == "short"


def test_a_model_with_an_opening_is_read_from_what_it_writes(run):
    rules = load_protocol("pearl-paper", benchmark="vstar")
    writing = run("plain", opening={"text": "<a>", "tokens": ["<a>"]})
    assert own_scoring(writing, None) == own_scoring(writing, rules) == "free"
    assert own_answering(writing) == Plain(prefix="<a>", tokens=("<a>",))
    questions = questions_of("playground:maze", protocol=None, scorings=[], count=2, seed=0)
    assert questions.read_as([writing]).scorings == ("free",)
    assert questions.read_as(["tiny-qwen2.5-vl", writing]).scorings == ("letter-logits", "free")
    assert own_answering("tiny-qwen2.5-vl") == Plain()
    assert own_answering(run("plain")) == Plain()


def test_questions_are_read_as_asked_or_by_default():
    found = questions_of("playground:maze", protocol=None, scorings=[], count=3, seed=0)
    assert (len(found.items), found.scorings, found.protocol, found.notes) == (3, ["letter-logits"], None, ())
    both = questions_of("playground:maze", protocol=None, scorings=["free", "short"], count=3, seed=0)
    assert both.scorings == ["free", "short"]
    assert both.only("short").scorings == ("short",)


def test_loading_settings_reach_the_backbone():
    assert load_model("tiny-random-qwen2.5-vl", dtype="bfloat16").base.dtype.itemsize == 2
