"""Batches of validation, and what several processes found, joined: by hand."""

from __future__ import annotations

import pytest

from jepa_vlm.training.validation import _batches, _Found, _joined


def test_no_batch_is_of_one_example_where_there_are_two():
    assert _batches(5, 2) == [[0, 1], [2, 3, 4]]
    assert _batches(6, 4) == [[0, 1, 2, 3], [4, 5]]
    assert (_batches(1, 4), _batches(0, 4)) == ([[0]], [])


def test_sums_counts_and_what_others_targets_cost_more_are_of_all_examples():
    one = _Found(
        sums={"next_token": 6.0, "experts": 4.0, "experts/depth": 3.0, "experts/edges": 1.0},
        counts={"next_token": 3.0, "experts": 2.0},
        shuffled={"experts/depth": (3.0, 4.0, 2), "experts/edges": (1.0, 0.5, 2)},
    )
    other = _Found(
        sums={"next_token": 2.0, "experts": 2.0, "experts/depth": 2.0},
        counts={"next_token": 1.0, "experts": 1.0},
        shuffled={"experts/depth": (0.0, 5.0, 4)},  # edges: in none of its batches were there two
    )
    found = _joined([one, other], {"next_token": 1.0, "experts": 0.5}, None)
    assert found["terms"]["next_token"] == {"raw": 2.0, "weighted": 2.0, "count": 4.0}
    assert found["terms"]["experts"]["raw"] == 2.0
    assert found["terms"]["experts"]["parts"] == {"depth": pytest.approx(5 / 3), "edges": pytest.approx(1 / 3)}
    assert found["loss"] == 3.0
    depth, edges = {"matched_loss_depth": 0.5, "shuffled_loss_depth": 1.5}, {"matched_loss_edges": 0.5}
    assert found["monitors"] == {"experts": {**depth, **edges, "shuffled_loss_edges": 0.25}}
