from __future__ import annotations

from dataclasses import replace

import pytest

from jepa_vlm.errors import RunError
from jepa_vlm.runs.comparing.facts import ArmFacts, Cost, matched_steps


def facts(*, steps=100, per_step=8, tokens=100.0, flops=1e9):
    cost = Cost(trajectories=32, tokens=tokens, flops=flops, step_memory=1)
    return ArmFacts({"steps": steps}, {}, "plain", {}, trained=1, per_step=per_step, cost=cost)


ARMS = {"sft": facts(), "pearl": facts(steps=2500, tokens=150.0, flops=1.25e9), "wide": facts(per_step=16)}


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("steps", {"sft": 100, "pearl": 100, "wide": 100}),
        ("tokens", {"sft": 100, "pearl": 67, "wide": 50}),  # 80,000 tokens, of 1200 and 1600 a step
        ("flops", {"sft": 100, "pearl": 80, "wide": 50}),  # 8e11 FLOPs, of 1e10 and 1.6e10 a step
    ],
)
def test_all_spend_what_the_reference_spends(by, expected):
    assert matched_steps(by, "sft", ARMS) == expected


def test_another_reference_is_another_budget():
    assert matched_steps("flops", "pearl", ARMS)["sft"] == 3125


def test_an_arm_trains_at_least_one_step():
    assert matched_steps("flops", "sft", {"sft": facts(steps=1), "huge": facts(flops=1e12)})["huge"] == 1


def test_a_cost_that_was_not_counted_cannot_be_matched():
    unknown = replace(facts(), cost=None, cost_missing="its data are gone")
    assert matched_steps("steps", "sft", {"sft": facts(), "old": unknown})["old"] == 100
    with pytest.raises(RunError, match=r"What old costs could not be counted \(its data are gone\)"):
        matched_steps("tokens", "sft", {"sft": facts(), "old": unknown})
