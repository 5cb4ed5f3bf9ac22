"""The model card is made from the measured numbers and omits seeds that were not trained."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from benchmarks.pretrain_tiny.card import card, mean_share
from jepa_vlm.adapters.loading import WEIGHTS

PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def found():
    return json.loads((PROJECT / "docs/results/tiny_pretraining.json").read_text(encoding="utf-8"))


def test_the_shipped_card_holds_the_measured_tables(found):
    made = card(found, found["command"]).splitlines()
    shipped = (WEIGHTS / "tiny-qwen2.5-vl" / "README.md").read_text(encoding="utf-8").splitlines()
    tables = [line for line in made if line.startswith("|")]
    assert len(tables) > 40
    assert tables == [line for line in shipped if line.startswith("|")]


def of_seeds(found, *seeds):
    """The same numbers for every seed."""
    shipped, each = str(found["seed"]), ("kinds", "tasks", "logs")
    return {**found, **{name: {seed: copy.deepcopy(found[name][shipped]) for seed in seeds} for name in each}}


def test_one_seed_is_not_called_chosen(found):
    made = card(of_seeds(found, str(found["seed"])), found["command"])
    assert "the only one that was trained" in made
    assert "The spread over seeds was not measured." in made


def test_two_seeds_are_set_side_by_side(found):
    two = {**of_seeds(found, "0", "1"), "seed": 0}
    row = next(row for row in two["kinds"]["1"] if (row["kind"], row["form"]) == ("color", "letter"))
    row["accuracy"] -= 0.5
    next(row for row in two["tasks"]["0"] if row["task"] == "chart-reading")["accuracy"] -= 0.25
    made = card(two, "command")
    assert "The shipped seed is 0, the best of them on the validation split." in made
    assert "| task | seed 0 | seed 1 |" in made
    assert "Seeds lie farthest apart for color by letter: 50 points, and of the tasks for chart-reading: 25." in made


def test_a_seed_that_is_shipped_though_another_is_ahead_says_so(found):
    two = {**of_seeds(found, "0", "1"), "seed": 0}
    accuracy = two["logs"]["0"][-1]["accuracy"]
    accuracy["color/letter"] -= 0.02 * len(accuracy)
    made = card(two, "command")
    assert "seed is 0, as asked for; on the validation split seed 1 is ahead by 2.0 points, over all kinds" in made


def test_seeds_are_compared_by_the_mean_over_kinds_and_forms():
    assert mean_share({"accuracy": {"color/word": 1.0, "color/letter": 0.5, "piece/word": 0.0}}) == 0.5
