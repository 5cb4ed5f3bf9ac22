from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from jepa_vlm.contrib.analysis.agreement import agreement
from jepa_vlm.contrib.analysis.embedding_map import embedding_figure, embedding_map
from jepa_vlm.contrib.analysis.embeddings import Embeddings


@pytest.fixture(scope="module")
def clusters() -> Embeddings:
    """Three tasks, each around a direction of its own; both views of an example near each other."""
    noise = 0.05 * torch.randn(2, 30, 8, generator=torch.Generator().manual_seed(0))
    tasks = [i % 3 for i in range(30)]
    predicted, target = torch.eye(8)[tasks] + noise
    named = tuple(f"<{t}>" for t in tasks)
    return Embeddings("m", "mean", tuple(map(str, range(30))), named, named, predicted, 5 * target)


@pytest.fixture(scope="module")
def drawn(clusters):
    return embedding_map(clusters)


def test_the_map_keeps_cosine_neighbours_close(clusters, drawn):
    places = np.concatenate([drawn.predicted, drawn.target])
    tasks = np.array(clusters.tasks * 2)
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    assert (tasks[apart.argmin(1)] == tasks).all()


def test_the_map_is_deterministic_and_records_how_it_was_made(clusters, drawn):
    again = embedding_map(clusters)
    np.testing.assert_array_equal(again.predicted, drawn.predicted)
    assert (drawn.perplexity, drawn.seed) == (pytest.approx(59 / 3), 0)
    assert drawn.divergence > 0


def test_the_table_has_a_row_for_each_view(clusters, drawn):
    rows = drawn.table()
    assert len(rows) == 60
    assert rows[31] == {
        "name": "m",
        "id": "1",
        "task": "<1>",
        "view": "target",
        "x": drawn.target[1, 0],
        "y": drawn.target[1, 1],
    }


@pytest.mark.parametrize("perplexity", [0.5, 60.0])
def test_a_perplexity_beyond_the_points_is_refused(clusters, perplexity):
    with pytest.raises(ValueError, match="less than the 60 points"):
        embedding_map(clusters, perplexity=perplexity)


def test_two_examples_can_be_drawn():
    two = Embeddings("two", "mean", ("a", "b"), ("", ""), ("", ""), torch.eye(2), torch.eye(2))
    assert np.isfinite(embedding_map(two).target).all()


def test_the_figure_holds_one_panel_for_each_model(clusters, drawn):
    numbers = agreement(clusters)
    svg = embedding_figure([drawn] * 4, [numbers] * 4)
    root = ElementTree.fromstring(svg)
    panels = [g for g in root.iter("{http://www.w3.org/2000/svg}g") if g.get("id", "").startswith("axes_")]
    filled = [g for g in panels if any(e.get("id", "").startswith("PathCollection") for e in g.iter())]
    assert len(filled) == 4
    assert "<0>" not in svg
