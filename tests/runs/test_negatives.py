"""A loss that compares the trajectories of a micro-batch needs two of them."""

from __future__ import annotations

import pytest

import jepa_vlm as jv
from jepa_vlm.errors import RecipeError
from jepa_vlm.runs.term_checks import Alone, comparing_terms, count_alone

CONTRASTIVE = comparing_terms(jv.load_recipe("vl_jepa").objective)


def alone(starts, *, examples=20, held_out=4):
    return count_alone(CONTRASTIVE, starts=starts, examples=examples, held_out=held_out)


def test_micro_batches_of_one_are_refused_where_all_are_and_told_where_some_are():
    with pytest.raises(RecipeError, match=r"latent_prediction compares.*every micro-batch holds one.*--batch-size 2"):
        alone(range(0, 6, 1))
    with pytest.raises(RecipeError, match="the training set holds one"):
        alone(range(0, 8, 2), examples=1)
    some = alone([0, 1, 3, 4, 8])
    assert some == Alone(("latent_prediction",), 2, 4, 4)
    (line,) = some.warnings
    assert "and 2 of 4 micro-batches hold one, in which it is 0; raise --batch-tokens" in line
    assert alone(range(0, 8, 2)).warnings == []


def test_one_held_out_trajectory_is_told():
    assert "its held-out value is 0" in alone(range(0, 8, 2), held_out=1).warnings[0]


def test_losses_of_single_examples_compare_nothing():
    assert CONTRASTIVE == ("latent_prediction",)
    assert comparing_terms(jv.load_recipe("pearl").objective) == ()
