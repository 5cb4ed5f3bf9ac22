"""How trained models answer open questions."""

from __future__ import annotations

import pytest
from PIL import Image

from jepa_vlm import load_recipe, playground
from jepa_vlm.adapters import load_backbone
from jepa_vlm.errors import UnknownNameError
from jepa_vlm.generation import Plain, Tools, answers_by_scoring, tool_loop
from jepa_vlm.generation.answering import ANSWERINGS
from jepa_vlm.generation.greedy import OpenQuestion
from jepa_vlm.generation.tool_loop import PIXEL_REASONER, TRAINED_TOOLS, ToolAnswer, ToolUse
from jepa_vlm.trajectories import LazyImage

ITEMS = playground.questions("visual-search", count=3)


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("tiny-random-qwen2.5-vl", seed=0)


def test_a_plain_answer_is_what_free_scoring_generates(backbone):
    expected = answers_by_scoring(backbone, ITEMS, scorings=("free",), max_new_tokens=5)["free"]
    open_questions = [OpenQuestion(item.id, item.images, item.prompt) for item in ITEMS]
    for items in (ITEMS, open_questions):
        assert ANSWERINGS["plain"].texts(backbone, items, max_new_tokens=5) == [one.text for one in expected]
    assert not backbone.model.training


@pytest.mark.parametrize(("name", "loop"), [("tools", TRAINED_TOOLS), ("pixel-reasoner", PIXEL_REASONER)])
def test_a_way_with_tools_runs_its_loop_and_answers_with_the_last_turn(backbone, monkeypatch, name, loop):
    given = []

    def scripted(backbone, items, loop, *, batch_size):
        given.append((loop, batch_size))
        return [
            ToolAnswer(item.id, f"last of {item.id}", ("first", "last"), ToolUse(1, 0, 9, "answered")) for item in items
        ]

    monkeypatch.setattr(tool_loop, "answer_with_tools", scripted)
    picture = LazyImage(pixels=Image.new("RGB", (64, 64), "red"))
    asked = [OpenQuestion(name, (picture,), "red?") for name in ("a", "b")]
    assert ANSWERINGS[name].texts(backbone, asked, max_new_tokens=1) == ["last of a", "last of b"]
    assert given == [(loop, 2)]


def test_the_recipes_name_ways_that_exist():
    assert load_recipe("pixel_reasoner").answering == ANSWERINGS["tools"] == Tools()
    assert load_recipe("pearl").answering == ANSWERINGS["plain"] == Plain()
    with pytest.raises(UnknownNameError, match="Did you mean 'tools'"):
        _ = ANSWERINGS["tool"]
