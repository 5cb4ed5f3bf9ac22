"""What a model writes ahead of its answers."""

from __future__ import annotations

import pytest

import jepa_vlm as jv


def test_tokens_of_a_response_prefix_are_counted_in_its_text():
    answering = jv.Plain(prefix="the a <a><a>, the b <b>. ", tokens=("<a>", "<b>"))
    assert answering.counts == {"<a>": 2, "<b>": 1}
    assert answering.room == 3 + len("the a , the b . ")


@pytest.mark.parametrize("tokens", [(), ("<a>", "<c>"), "<a>"])
def test_tokens_must_stand_in_it(tokens):
    with pytest.raises(ValueError, match="stand in its text"):
        jv.Plain(prefix="<a><b>", tokens=tokens)


def test_a_recipe_holds_one_way_of_answering():
    answering = jv.Plain(prefix="<a>", tokens=("<a>",))
    assert jv.Recipe(objective=jv.NextToken(), answering=answering).answering.name == "plain"
    with pytest.raises(ValueError, match=r"must be jv\.Plain, jv\.Latents or jv\.Tools; got 'tools'"):
        jv.Recipe(objective=jv.NextToken(), answering="tools")
