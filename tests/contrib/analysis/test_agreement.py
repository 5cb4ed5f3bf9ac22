"""Agreement of two views, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import silhouette_score

from jepa_vlm.contrib.analysis.agreement import agreement
from jepa_vlm.contrib.analysis.embeddings import Embeddings
from jepa_vlm.errors import DataError
from jepa_vlm.training.monitors import matched_cosine, shuffled_cosine, within_kinds


def embeddings(predicted, target, tasks=None, name="m", kinds=None, by_direction=False) -> Embeddings:
    n = len(predicted)
    tasks = tuple(tasks or ["a"] * n)
    ids = tuple(f"x{i}" for i in range(n))
    return Embeddings(name, "last_token", ids, tasks, tuple(kinds or tasks), predicted, target, by_direction)


def random_set(n=12, dim=5, name="m", seed=0, **changed) -> Embeddings:
    predicted, target = torch.randn(2, n, dim, generator=torch.Generator().manual_seed(seed)).unbind()
    return embeddings(predicted, target, name=name, **changed)


def test_by_hand():
    half = math.sqrt(0.5)
    predicted = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    target = torch.tensor([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    found = agreement(embeddings(predicted, target, "aab"))
    # cosines: row 0: 0 0 1; row 1: 1 1 0; row 2: half half half
    np.testing.assert_allclose(found.values["matched_cosine"], [0, 1, half], atol=1e-7)
    np.testing.assert_allclose(found.values["alignment"], [0 - 0.5, 1 - 0.5, 0], atol=1e-7)
    # row 0: one is better, two share places 2 and 3; row 1: two share the first two places; row 2: all three share
    np.testing.assert_allclose(found.values["recall_at_1"], [0, 1 / 2, 1 / 3])
    np.testing.assert_allclose(found.values["recall_at_5"], [1, 1, 1])
    assert found.chance["recall_at_1"] == pytest.approx(1 / 3)
    # inside the task: row 0 shares both places with row 1's target, and so does row 1; row 2 is alone
    np.testing.assert_allclose(found.values["recall_at_1_within_task"], [1 / 2, 1 / 2, math.nan])
    np.testing.assert_allclose(found.values["alignment_within_task"], [0, 0, math.nan], atol=1e-7)
    assert found.chance["recall_at_1_within_task"] == pytest.approx(1 / 2)
    assert found.chance["recall_at_5_within_task"] == 1
    assert found.estimate("recall_at_1_within_task").value == pytest.approx(1 / 2)
    assert math.isnan(found.estimate("recall_at_1_within_task", "b").value)


@pytest.mark.parametrize("by_direction", [False, True])
def test_the_means_are_the_monitors_figures(by_direction):
    one = random_set(kinds="aabbbcccccad", by_direction=by_direction)
    found = agreement(one)
    within = within_kinds(one.predicted, one.target, one.kinds, by_direction=by_direction)
    for figure in ("shuffled_cosine", "recall_at_1", "explained", "explained_centred"):
        name = f"{figure}_within_kind"
        assert found.estimate(name).value == pytest.approx(within[name])
    assert found.chance["recall_at_1_within_kind"] == pytest.approx(within["chance_at_1_within_kind"])
    assert found.estimate("matched_cosine").value == pytest.approx(matched_cosine(one.predicted, one.target))
    assert found.estimate("shuffled_cosine").value == pytest.approx(shuffled_cosine(one.predicted, one.target))


def test_the_slow_obvious_way_gives_the_same():
    one = random_set(tasks="aabbbcccccaa", kinds="aabbbcccddaa")
    found = agreement(one)
    cosines = torch.nn.functional.cosine_similarity(one.predicted[:, None].double(), one.target[None].double(), dim=-1)
    for i in range(12):
        for suffix, rivals in (
            ("", range(12)),
            ("_within_task", [j for j in range(12) if one.tasks[j] == one.tasks[i]]),
            ("_within_kind", [j for j in range(12) if one.kinds[j] == one.kinds[i]]),
        ):
            rank = sum(cosines[i, j] > cosines[i, i] for j in rivals)
            for k in (1, 5):
                assert found.values[f"recall_at_{k}{suffix}"][i] == float(rank < k)
            others = [float(cosines[i, j]) for j in rivals if j != i]
            expected = float(cosines[i, i]) - sum(others) / len(others)
            assert found.values[f"alignment{suffix}"][i] == pytest.approx(expected)
    assert found.chance["recall_at_5_within_task"] == pytest.approx((4 * 1 + 3 * 1 + 5 * 1) / 12)


def test_a_perfect_pair_is_found_and_a_useless_one_is_at_chance():
    points = torch.eye(6)
    perfect = agreement(embeddings(points, 3 * points))
    assert perfect.estimate("recall_at_1") == (1, 1, 1)
    assert perfect.estimate("alignment").value == pytest.approx(1.0)
    useless = agreement(embeddings(torch.ones(6, 4), points[:, :4] * 0 + 1))  # collapsed: all equal
    assert useless.estimate("recall_at_1").value == pytest.approx(useless.chance["recall_at_1"])
    assert useless.estimate("alignment").value == pytest.approx(0.0)


def test_one_trajectory_twice_does_not_win_by_rounding():
    predicted = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    target = torch.tensor([[1.0, 1e-4], [1.0 + 1e-7, 1.0001e-4], [0.0, 1.0]])
    np.testing.assert_allclose(agreement(embeddings(predicted, target)).values["recall_at_1"], [0.5, 0.5, 1.0])


def test_silhouettes_are_sklearns():
    one = random_set(tasks="aabbbcccccaa")
    found = agreement(one)
    both = torch.cat([one.predicted, one.target]).double().numpy()
    expected = {
        "predicted": silhouette_score(one.predicted.double(), one.tasks, metric="cosine"),
        "target": silhouette_score(one.target.double(), one.tasks, metric="cosine"),
        "both": silhouette_score(both, one.tasks * 2, metric="cosine"),
        "views": silhouette_score(both, [0] * 12 + [1] * 12, metric="cosine"),
    }
    for name, value in expected.items():
        assert found.estimate(f"silhouette_{name}").value == pytest.approx(value)


def test_two_tight_clusters_have_silhouette_one():
    points = torch.eye(2).repeat_interleave(3, 0)
    found = agreement(embeddings(points, points, "aaabbb"))
    for name in ("predicted", "target", "both"):
        assert found.estimate(f"silhouette_{name}").value == pytest.approx(1.0)
    # both views of a task lie on one another: as near as each other's
    assert found.estimate("silhouette_views").value < 0
    assert "silhouette_both" not in agreement(embeddings(points, points)).values  # one task has no neighbour


def test_models_are_compared_on_the_same_examples():
    points = torch.eye(6)
    perfect, other = agreement(embeddings(points, points)), agreement(random_set(6, 6))
    apart = perfect.difference(other, "recall_at_1")
    assert apart.value == pytest.approx(1 - other.estimate("recall_at_1").value)
    with pytest.raises(DataError, match="not embedded on the same examples"):
        perfect.difference(agreement(random_set(5)), "recall_at_1")


def test_a_figure_that_no_example_has_has_no_difference():
    """Each example alone in its task is held against no other of it."""
    one, other = (agreement(random_set(4, tasks="abcd", seed=seed)) for seed in (0, 1))
    assert math.isnan(one.difference(other, "alignment_within_task").value)
    assert math.isnan(one.estimate("alignment_within_task").value)
    assert math.isnan(one.estimate("alignment", task="nobody's").value)
    assert math.isfinite(one.difference(other, "alignment").value)


def test_the_summary_has_every_task_and_the_table_every_example():
    found = agreement(random_set(tasks="aabbbcccccaa"))
    summary = found.summary()
    assert {task: one["examples"] for task, one in summary["tasks"].items()} == {"a": 4, "b": 3, "c": 5}
    assert summary["figures"]["recall_at_5"]["chance"] == pytest.approx(5 / 12)
    rows = found.table()
    assert len(rows) == 12
    mean = sum(row["alignment"] for row in rows) / 12
    assert mean == pytest.approx(summary["figures"]["alignment"]["value"])


def test_what_is_not_finite_is_refused():
    with pytest.raises(DataError, match="not finite"):
        agreement(embeddings(torch.full((3, 2), float("nan")), torch.ones(3, 2)))
