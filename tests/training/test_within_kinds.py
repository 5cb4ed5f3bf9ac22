"""What a prediction knows within a kind: by hand, on planted states, and in words."""

from __future__ import annotations

import math

import pytest
import torch
from PIL import Image

from jepa_vlm import playground
from jepa_vlm.training.monitors import in_words, kind_of, partners, within_kinds
from jepa_vlm.trajectories import LazyImage, Step, ToolCall, Trajectory

SAME = "The prediction is the same for all examples of a kind: it tells kinds apart, not examples."


def planted(share, *, seed=0):
    """200 examples of four kinds far apart, and predictions that explain a share of what differs within the kinds."""
    draw = torch.Generator().manual_seed(seed)
    kinds = [f"kind {i % 4}" for i in range(200)]
    centres = 10 * torch.randn(4, 16, generator=draw, dtype=torch.float64)
    known, rest = torch.randn(2, 200, 16, generator=draw, dtype=torch.float64).unbind()
    place = centres[torch.arange(200) % 4]
    target = place + share**0.5 * known + (1 - share) ** 0.5 * rest
    return place + share**0.5 * known, target, kinds


def test_by_hand():
    # Kind a: targets (1, 0) and (3, 0), mean (2, 0); kind b: (0, 2), (0, 4), mean (0, 3); c is alone.
    target = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [5.0, 5.0], [0.0, 4.0]])
    predicted = torch.tensor([[1.5, 0.0], [1.0, 2.0], [2.5, 0.0], [9.0, 9.0], [1.0, 4.0]])
    found = within_kinds(predicted, target, ["a", "b", "a", "c", "b"])
    assert (found["kinds"], found["compared"], found["alone"]) == (2, 4, 1)
    # Squared errors 0.25, 1, 0.25, 1; squared distances of targets from their kind's mean 1, 1, 1, 1.
    assert found["explained_within_kind"] == pytest.approx(1 - 2.5 / 4)
    assert found["target_norm_within_kind"] == pytest.approx(1.0)
    # Less the kinds' means: -0.5 and 0.5 for -1 and 1, and -1 and 1 for -1 and 1.
    assert found["explained_centred_within_kind"] == pytest.approx(1 - (0.25 + 0.25) / 4)
    # Predictions: kind a 1.5 and 2.5 from a mean of 2; kind b (1, 2) and (1, 4) from (1, 3).
    assert found["predicted_norm_within_kind"] == pytest.approx(((0.25 + 1 + 0.25 + 1) / 4) ** 0.5)
    # Cosines: kind a all 1; kind b those of (1, 2) and of (1, 4) with (0, 1), the same for both targets.
    matched = (1 + 1 + 2 / 5**0.5 + 4 / 17**0.5) / 4
    assert found["matched_cosine_within_kind"] == pytest.approx(matched)
    assert found["shuffled_cosine_within_kind"] == pytest.approx(matched)
    assert found["recall_at_1_within_kind"] == found["chance_at_1_within_kind"] == 0.5


def test_directions_alone():
    target = torch.tensor([[0.0, 2.0], [3.0, 0.0]])
    predicted = torch.tensor([[0.0, 50.0], [0.1, 0.0]])
    assert within_kinds(predicted, target, "aa", by_direction=True)["explained_within_kind"] == pytest.approx(1.0)
    assert within_kinds(predicted, target, "aa")["explained_within_kind"] < 0


@pytest.mark.parametrize("share", [0.26, 0.65])
def test_a_planted_share_is_found_and_lost_when_the_targets_of_a_kind_change_places(share):
    predicted, target, kinds = planted(share)
    found = within_kinds(predicted, target, kinds)
    assert found["explained_within_kind"] == pytest.approx(share, abs=0.04)
    assert found["recall_at_1_within_kind"] > 5 * found["chance_at_1_within_kind"]
    assert f"explains {found['explained_within_kind']:.0%} of what differs" in in_words(found, found)
    permuted = target.view(50, 4, 16).roll(1, 0).reshape(200, 16)  # each gets another one's of its kind
    found = within_kinds(predicted, permuted, kinds)
    assert found["explained_within_kind"] < 0.01
    assert found["recall_at_1_within_kind"] < 3 * found["chance_at_1_within_kind"]
    assert in_words(found, found).startswith("The prediction differs between examples of a kind, but explains nothing")


def test_a_constant_prediction_explains_nothing_however_well_it_tells_kinds_apart():
    _, target, kinds = planted(0.5)
    means = torch.stack([target[i::4].mean(0) for i in range(4)])[torch.arange(200) % 4]
    found = within_kinds(means, target, kinds)
    assert found["explained_within_kind"] == pytest.approx(0.0, abs=1e-12)
    assert found["recall_at_1_within_kind"] == pytest.approx(found["chance_at_1_within_kind"])
    assert in_words(found, found) == SAME
    off = within_kinds(means + 0.1, target, kinds)
    assert off["explained_within_kind"] < 0
    assert off["explained_centred_within_kind"] == pytest.approx(0.0, abs=1e-12)
    assert in_words(off, off) == SAME


def test_a_prediction_that_is_off_by_the_same_for_all_is_not_called_constant():
    predicted, target, kinds = planted(0.65)
    as_it_is, found = within_kinds(predicted, target, kinds), within_kinds(predicted + 5, target, kinds)
    assert found["explained_within_kind"] < 0
    assert found["explained_centred_within_kind"] == pytest.approx(as_it_is["explained_centred_within_kind"])
    said = f"explains {found['explained_centred_within_kind']:.0%} of what differs between examples of a kind if the"
    assert said in in_words(found, found)


def test_a_target_that_collapses_is_told():
    predicted, target, kinds = planted(0.5)
    first = within_kinds(predicted, target, kinds)
    means = torch.stack([target[i::4].mean(0) for i in range(4)])[torch.arange(200) % 4]
    now = within_kinds(predicted, means + 0.4 * (target - means), kinds)
    assert now["target_norm_within_kind"] == pytest.approx(0.4 * first["target_norm_within_kind"])
    assert "the target collapses" in in_words(first, now)
    assert "collapses" not in in_words(first, first)


def test_what_cannot_be_said_is_said_to_be_so():
    alone = within_kinds(torch.eye(3), torch.eye(3), "abc")
    assert alone == {"kinds": 0, "compared": 0, "alone": 3}
    assert in_words(alone, alone).startswith("No two held-out examples are of one kind")
    equal = within_kinds(torch.eye(2), torch.ones(2, 2), "aa")
    assert "explained_within_kind" not in equal
    assert in_words(equal, equal).startswith("The targets of a kind are all the same")
    broken = within_kinds(torch.full((2, 2), math.nan), torch.eye(2), "aa")
    assert in_words(broken, broken).startswith("Predictions or targets are not finite")
    assert in_words({}, {"matched_loss_depth": 1.0}) == ""


def test_a_partner_is_the_next_of_the_kind():
    assert partners(["a", "b", "a", "c", "a", "b"]) == [2, 5, 4, None, 0, 1]


def test_a_kind_is_task_calls_and_on_the_playground_the_question_s_form():
    image = LazyImage(pixels=Image.new("RGB", (8, 8)))
    steps = (Step("I look.", ToolCall("crop"), image), Step("red"))
    assert kind_of(Trajectory("a", (image,), "What is it?", steps, "red", task="viscot")) == "viscot, 1 call"
    drawn = playground.trajectories("visual-search", count=40)
    assert {kind_of(one).removeprefix("visual-search, ") for one in drawn} == {
        f"What {form}?, {calls}"
        for form in ("color is the _", "shape is the _ object")
        for calls in ("0 calls", "1 call")
    }
