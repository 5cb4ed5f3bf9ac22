"""What a model writes ahead of its answers."""

from __future__ import annotations

import pytest

import jepa_vlm as jv


def test_tokens_are_counted_in_the_text():
    opening = jv.Opening(text="the a <a><a>, the b <b>. ", tokens=("<a>", "<b>"))
    assert opening.counts == {"<a>": 2, "<b>": 1}
    assert opening.room == 3 + len("the a , the b . ")


@pytest.mark.parametrize("tokens", [(), ("<a>", "<c>"), "<a>"])
def test_tokens_must_stand_in_it(tokens):
    with pytest.raises(ValueError, match="stand in its text"):
        jv.Opening(text="<a><b>", tokens=tokens)


def test_it_is_of_plain_generation():
    opening = jv.Opening(text="<a>", tokens=("<a>",))
    assert jv.Recipe(objective=jv.NextToken(), opening=opening).inference == "plain"
    with pytest.raises(ValueError, match="plain generation, not by inference 'tools'"):
        jv.Recipe(objective=jv.NextToken(), opening=opening, inference="tools")
