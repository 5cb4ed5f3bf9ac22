"""The panel in closed form: an orthonormal set, and a set on one line."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
import torch

from jepa_vlm.contrib.analysis.collapse import collapse, collapse_figure, latent_spread
from jepa_vlm.contrib.analysis.embeddings import Embeddings

LINE = torch.tensor([[1.0], [2.0], [3.0], [6.0]]) * torch.tensor([[2.0, 0.0, 0.0, 0.0]])
PAIR = Embeddings("m <b>", "mean", tuple("abcd"), tuple("xxyy"), tuple("xxyy"), LINE, torch.eye(4))


def test_spread_of_orthonormal_latents_by_hand():
    found = latent_spread(torch.eye(4))
    assert found.effective_rank == pytest.approx(3.0)
    assert found.rank_me == pytest.approx(4.0)
    assert found.mean_pairwise_cosine == pytest.approx(0.0)
    assert found.spectrum == pytest.approx((1, 1, 1, 0), abs=1e-12)
    assert found.dimension_std == pytest.approx([(3 / 16) ** 0.5] * 4)


def test_spread_of_latents_on_one_line_by_hand():
    found = latent_spread(LINE)
    assert found.effective_rank == found.rank_me == pytest.approx(1.0)
    assert found.mean_pairwise_cosine == pytest.approx(1.0)
    # 2, 4, 6, 12 less their mean 6: squares 16, 4, 0, 36
    assert found.spectrum == pytest.approx((56**0.5, 0, 0, 0), abs=1e-12)
    assert found.dimension_std == pytest.approx((14**0.5, 0, 0, 0))


def test_the_panel_reports_predictions_and_targets_separately():
    found = collapse(PAIR)
    assert (found.predicted, found.target) == (latent_spread(LINE), latent_spread(torch.eye(4)))
    summary = found.summary()
    assert (summary["examples"], summary["dim"]) == (4, 4)
    assert summary["predicted"]["std_max"] == pytest.approx(14**0.5)
    assert summary["predicted"]["std_mean"] == pytest.approx(14**0.5 / 4)
    rows = found.table()
    assert len(rows) == 2 * (4 + 4)
    assert rows[0] == {"name": "m <b>", "side": "predicted", "figure": "spectrum", "index": 0, "value": 56**0.5}


def test_the_figure_is_drawn_even_of_points_that_are_all_one():
    dead = Embeddings("dead", "mean", tuple("abcd"), tuple("xxyy"), tuple("xxyy"), torch.zeros(4, 4), torch.ones(4, 4))
    drawn = collapse_figure([collapse(PAIR), collapse(dead)])
    ElementTree.fromstring(drawn)
    assert "<b>" not in drawn
