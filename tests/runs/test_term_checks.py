"""A term that the data or the micro-batches cannot train is refused, one that few trajectories train is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

import jepa_vlm as jv
from jepa_vlm.errors import DataError, RecipeError
from jepa_vlm.runs.scan import HELD_OUT, Alone, RowCounter, Share, comparing_terms, count_alone, warnings

LOOKS = [row for row in jv.playground.trajectories("sequential-crops", count=8) if row.calls][:1]
WORDS = [replace(LOOKS[0], id="words", steps=LOOKS[0].steps[-1:])] * 12


def counted(recipe, *train, validation=LOOKS, **parameters):
    found = jv.load_recipe(recipe, **parameters)
    counter = RowCounter(found.objective)
    for source, rows in (*zip(("lvr", "chat"), train, strict=False), (HELD_OUT, validation)):
        for row in rows:
            counter.add(source, row)
    return counter.found(found.stages)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("lvr", r"latent_reconstruction needs a tool's picture whose call has a box\."),
        ("mirage", r"next_token_2 \(stage alone\) needs a picture that a tool returned\."),
        ("coconut", r"next_token_3 \(stage 2 steps replaced\) needs a step of reasoning before its last one\."),
    ],
)
def test_data_without_what_a_term_needs_is_refused(recipe, message):
    with pytest.raises(DataError, match=rf"None of the 12 training trajectories.*{message}.*such as sft or pearl"):
        counted(recipe, WORDS)
    assert counted(recipe, LOOKS)


def test_what_every_trajectory_has_is_not_counted():
    for recipe in ("sft", "pearl", "next_latent", "llm_jepa", "covt"):
        assert counted(recipe, WORDS) == {}
    assert "next_token" not in counted("coconut", LOOKS)  # its first stage replaces nothing


def test_few_are_told_with_their_share():
    found = counted("lvr", [*LOOKS, *WORDS])
    assert found["latent_reconstruction"].train == Share(1, 13)
    assert warnings(found) == [
        f"{term} needs a tool's picture whose call has a box. 1 of 13 training trajectories (7.7%, under 10%) have it."
        for term in ("next_token", "latent_reconstruction")
    ]
    assert warnings(counted("lvr", [*LOOKS, *WORDS[:9]])) == []  # a tenth is not few


def test_a_source_or_a_held_out_set_without_any_is_told():
    found = counted("mirage", LOOKS, WORDS[:2], validation=WORDS[:3], first=1.0)
    assert found["latent_reconstruction"].sources == {"lvr": Share(1, 1), "chat": Share(0, 2)}
    source, held_out = (line.partition("returned. ")[2] for line in warnings(found)[-2:])
    assert source == "None of the 2 training trajectories of chat has it."
    assert held_out.startswith("None of the 3 held-out trajectories has it, so that")


def test_pads_that_a_rule_leaves_out_are_counted_as_its_batches_have_them():
    rows = jv.playground.trajectories("sequential-crops", count=30)
    view = jv.load_recipe("covt", stages="all").objective.terms["expert_distillation_4"].view
    expected = sum(bool(view.chosen(row.id)) for row in rows)
    assert 20 < expected < 30
    found = counted("covt", rows, stages="all")
    assert found["expert_distillation_4"].train == Share(expected, 30)
    assert found["expert_distillation_4"].stages == ("efficient",)


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
