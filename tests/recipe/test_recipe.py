"""Recipe and Lora refuse what cannot be trained."""

from __future__ import annotations

import dataclasses

import pytest

import jepa_vlm as jv


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("steps", 2.5),
        ("batch_size", True),
        ("accumulation", -1),
        ("learning_rate", -1e-5),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("weight_decay", float("inf")),
        ("warmup", 1.0),
        ("warmup", -1),
        ("schedule", "cosines"),
        ("engine", "packed"),
        ("added_tokens", ("<|a|>", "<|a|>")),
        ("added_tokens", "ab"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        jv.Recipe(objective=jv.NextToken(), **{field: value})


@pytest.mark.parametrize(("field", "value"), [("rank", 0), ("alpha", 0), ("dropout", 1.0), ("dropout", -0.1)])
def test_lora_refuses_impossible_values(field, value):
    with pytest.raises(ValueError, match=field):
        jv.Lora(**{field: value})


@pytest.mark.parametrize(("field", "value"), [("steps", 0), ("rank", 2.5), ("learning_rate", -1.0)])
def test_published_values_are_held_to_the_same_ranges(field, value):
    with pytest.raises(ValueError, match=field):
        jv.Published(**{field: value})


def test_an_open_adapter_has_a_rank_and_twice_that_as_alpha():
    assert jv.Lora().sizes() == (64, 128)
    assert jv.Lora(rank=8).sizes() == (8, 16)
    assert jv.Lora(rank=8, alpha=4).sizes() == (8, 4)


def test_a_recipe_is_frozen_and_derived_by_replace():
    recipe = jv.Recipe(objective=jv.NextToken())
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.steps = 1
    assert dataclasses.replace(recipe, steps=7).steps == 7


def test_a_single_term_becomes_an_objective_and_anything_else_is_refused():
    assert jv.Recipe(objective=jv.NextToken()).objective.weights == {"next_token": 1.0}
    with pytest.raises(ValueError, match="objective must be a term"):
        jv.Recipe(objective="sft")


@pytest.mark.parametrize("token", ["", "two words", 7])
def test_an_added_token_is_a_text_without_spaces(token):
    with pytest.raises(ValueError, match="An added token is"):
        jv.Recipe(objective=jv.NextToken(), added_tokens=(token,))
