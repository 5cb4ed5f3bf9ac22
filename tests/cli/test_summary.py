"""Results as text."""

from __future__ import annotations

import pytest

from jepa_vlm.cli.summary import result_text
from jepa_vlm.runs import RunResult


def scored(correct, unreadable):
    overall = {"value": correct / 8, "correct": correct, "n": 8, "low": 0.1, "high": 0.9, "chance": 0.25}
    return {"free": {"overall": overall, "tasks": {"maze": overall}, "parse_failure_rate": unreadable}}


def result(terms=("next_token",), monitors=None, **accuracy):
    numbers = {"first": 4.0, "best": 3.0, "last": 3.5, "weighted_best": 3.0}
    return RunResult("runs/a", dict.fromkeys(terms, numbers), monitors or {}, accuracy, 2, "runs/a/export", None, 1.0)


def test_answers_that_could_not_be_read_are_told_apart_from_wrong_ones():
    text = result_text(result(before=scored(0, 1.0), after=scored(4, 0.0)))
    (line,) = [line for line in text.splitlines() if line.startswith("free, all")]
    assert line.split(maxsplit=2)[2].strip() == "0.0% [10.0%, 90.0%] n=8, 100% unreadable  50.0% [10.0%, 90.0%] n=8"


@pytest.mark.parametrize(("terms", "other"), [(("next_token",), "pearl"), (("next_token", "latent_prediction"), "sft")])
def test_the_recipe_to_try_next_is_another_one(terms, other):
    assert f"  jepa-vlm recipe {other}" in result_text(result(terms)).splitlines()


def test_a_written_opening_is_told_beside_the_accuracy():
    before, after = scored(4, 0.0), scored(6, 0.0)
    before["free"]["opening_use"], after["free"]["opening_use"] = ({"whole": n, "some": n + 1} for n in (0, 7))
    lines = result_text(result(before=before, after=after)).splitlines()
    at = lines.index(next(line for line in lines if line.startswith("OPENING WRITTEN WHOLE")))
    assert lines[at + 1].split() == ["free", "0", "of", "8", "7", "of", "8"]
    assert "OPENING" not in result_text(result(before=scored(4, 0.0), after=scored(6, 0.0)))


def test_what_other_examples_targets_cost_in_cosine_or_in_loss():
    def cosines(matched):
        return {"matched_cosine": matched, "shuffled_cosine": 0.5, "predicted_std_mean": 0.1}

    def losses(depth):
        shuffled = {"shuffled_loss_depth_map": 1.0 + depth, "shuffled_loss_edges": 0.5}
        return {"matched_loss_depth_map": 1.0, "matched_loss_edges": 1.0, **shuffled}

    monitors = {
        "latent_prediction": {"first": cosines(0.5), "best": cosines(0.75)},
        "next_latent": {"first": {}, "best": {}},
        "expert_distillation": {"first": losses(0.0), "best": losses(0.25)},
    }
    lines = [" ".join(line.split()) for line in result_text(result(monitors=monitors)).splitlines()]
    at = lines.index("MATCHED - SHUFFLED COSINE BEFORE BEST")
    assert lines[at + 1 : at + 3] == ["latent_prediction +0.0000 +0.2500", ""]
    assert lines[at + 3 : at + 6] == [
        "SHUFFLED - MATCHED LOSS BEFORE BEST",
        "expert_distillation, depth_map +0.0000 +0.2500",
        "expert_distillation, edges -0.5000 -0.5000",
    ]
    assert "COSINE" not in result_text(result())
