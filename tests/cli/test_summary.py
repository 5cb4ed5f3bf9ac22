"""Results as text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jepa_vlm.cli.recipe_command import result_text
from jepa_vlm.runs import RunResult
from jepa_vlm.runs.folder import held_out_findings


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


def test_what_a_prediction_knows_within_a_kind_and_what_another_image_costs():
    def figures(gap, explained):
        return {
            **{"matched_cosine": 0.5 + 10 * gap, "shuffled_cosine": 0.5, "kinds": 4.0, "compared": 126.0, "alone": 2.0},
            **{"matched_cosine_within_kind": 0.9 + gap, "shuffled_cosine_within_kind": 0.9},
            **{"recall_at_1_within_kind": 0.05, "chance_at_1_within_kind": 0.04, "explained_within_kind": explained},
            "explained_centred_within_kind": explained,
            **{"predicted_norm_within_kind": 1.0, "target_norm_within_kind": 2.5},
        }

    def losses(depth):
        shuffled = {"shuffled_loss_depth_map": 1.0 + depth, "shuffled_loss_edges": 0.5}
        counts = {"compared_depth_map": 7, "compared_edges": 5}
        return {"matched_loss_depth_map": 1.0, "matched_loss_edges": 1.0, **shuffled, **counts}

    monitors = {
        "latent_prediction": {"first": figures(0.0, -0.5), "best": figures(0.02, 0.26)},
        "latent_reconstruction": {"first": {}, "best": {}},
        "expert_distillation": {"first": losses(0.0), "best": losses(0.25)},
    }
    text = result_text(replace(result(monitors=monitors), findings=held_out_findings(monitors)))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    at = lines.index("LATENT_PREDICTION BEFORE BEST")
    assert lines[at + 1 : at + 13] == [
        "within a kind (126 in 4 kinds, 2 left out that are alone in theirs):",
        "matched - shuffled cosine +0.0000 +0.0200",
        "own target nearest 5.0% 5.0%",
        "by guessing 4.0% 4.0%",
        "variance explained -50.0% 26.0%",
        "the kinds' means off -50.0% 26.0%",
        "spread of the predictions 1 1",
        "spread of the targets 2.5 2.5",
        "between kinds (all examples together):",
        "matched - shuffled cosine +0.0000 +0.2000",
        "The prediction explains 26% of what differs between examples of a kind.",
        "",
    ]
    assert lines[at + 13 : at + 16] == [
        "ANOTHER IMAGE OF THE SAME KIND COSTS MORE BY BEFORE BEST",
        "expert_distillation, depth_map (7 examples) +0.0000 +0.2500",
        "expert_distillation, edges (5 examples) -0.5000 -0.5000",
    ]
    assert "kind" not in result_text(result())
