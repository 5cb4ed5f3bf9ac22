"""Trajectories longer than the limit: refused, dropped and counted, or shrunk until they fit."""

from __future__ import annotations

from dataclasses import replace

import pytest

import jepa_vlm as jv
from jepa_vlm.errors import DataError
from jepa_vlm.runs.scan import fit, longest
from jepa_vlm.trajectories import Box, LazyImage


@pytest.fixture(scope="module")
def model():
    return jv.LatentVLM(jv.load_backbone("tiny-random-qwen2.5-vl"), jv.load_recipe("pearl").objective)


@pytest.fixture(scope="module")
def trajectories():
    """Two that are short, and one whose input image is twice as wide and high."""
    found = jv.playground.trajectories("visual-search", count=3, direct_share=0)
    image = found[1].images[0].load().resize((224, 224))
    return [found[0], replace(found[1], images=(LazyImage(pixels=image),)), found[2]]


def test_no_limit_keeps_everything(model, trajectories):
    assert fit(model, trajectories, limit=None, policy="error").kept == trajectories


def test_error_names_the_trajectory_its_length_and_the_limit(model, trajectories):
    length = longest(model, trajectories[1])
    assert length > 3 * 49
    with pytest.raises(DataError, match=rf"{trajectories[1].id}' has {length} tokens, limit 200; raise --max-tokens"):
        fit(model, trajectories, limit=200, policy="error")


def test_drop_leaves_it_out_and_counts_it(model, trajectories):
    found = fit(model, trajectories, limit=200, policy="drop")
    assert found.kept == [trajectories[0], trajectories[2]]
    assert found.dropped == (trajectories[1].id,)


def test_shrink_makes_it_fit_and_keeps_boxes_inside(model, trajectories):
    found = fit(model, trajectories, limit=200, policy="shrink")
    assert found.shrunk == (trajectories[1].id,)
    shrunk = found.kept[1]
    assert 150 < longest(model, shrunk) <= 200
    for step in shrunk.steps:
        if step.call is not None and step.call.box is not None:
            step.call.box.in_pixels(*shrunk.images[step.call.image].size)
    assert shrunk.steps[-1] == trajectories[1].steps[-1]


@pytest.mark.parametrize("side", [224, 225, 227, 230, 239])
def test_a_box_up_to_the_edge_stays_inside_however_its_image_rounds(model, trajectories, side):
    image = LazyImage(pixels=trajectories[1].images[0].load().resize((side, side)))
    (look, last) = trajectories[1].steps
    whole = replace(look, call=replace(look.call, box=Box(0, 0, side, side, relative=False)))
    found = fit(model, [replace(trajectories[1], images=(image,), steps=(whole, last))], limit=150, policy="shrink")
    (shrunk,) = found.kept
    size = shrunk.images[0].size
    assert size < (side, side)
    assert shrunk.steps[0].call.box.in_pixels(*size) == (0, 0, *size)


def test_what_no_shrinking_can_fit_is_refused(model, trajectories):
    with pytest.raises(DataError, match="however small its images"):
        fit(model, trajectories[:1], limit=20, policy="shrink")


def test_dropping_everything_is_refused(model, trajectories):
    with pytest.raises(DataError, match="All 3 trajectories"):
        fit(model, trajectories, limit=10, policy="drop")
