"""Latent tokens of a data set, counted by hand."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from jepa_vlm.contrib.analysis.latent_counts import LatentCounts, _edges, latent_counts, latent_counts_figure
from jepa_vlm.runs.survey import RowFacts

FACTS = (
    RowFacts("a", boxes=(0.1,), latents=(3,)),
    RowFacts("b", boxes=(0.1, 0.5), latents=(3, 12)),
    RowFacts("c"),  # answered at once
    RowFacts("d", boxes=(0.2,)),  # its image's tokens lie in no grid
    RowFacts("e", "box", "e: bad"),
    RowFacts("f", boxes=(0.2,), latents=(8,)),
)


def test_calls_and_examples_are_counted():
    found = latent_counts(iter(FACTS), inference=(8, 4))
    assert found == LatentCounts(
        per_call={3: 2, 8: 1, 12: 1},
        per_example={3: 1, 8: 1, 15: 1},
        inference=(4, 8),
        examples=5,
        boxless=1,
        unplaced=1,
        bad=1,
    )


def test_the_share_above_leaves_out_what_is_equal():
    found = latent_counts(FACTS, inference=(8, 4)).summary()
    assert found["per_call"]["share_above"] == {"4": 2 / 4, "8": 1 / 4}
    assert found["per_example"]["share_above"] == {"4": 2 / 3, "8": 1 / 3}
    assert (found["per_example"]["median"], found["per_example"]["mean"]) == (8, 8.67)


def test_the_table_holds_every_count():
    rows = latent_counts(FACTS).table()
    assert [tuple(row.values()) for row in rows] == [
        ("call", 3, 2),
        ("call", 8, 1),
        ("call", 12, 1),
        ("example", 3, 1),
        ("example", 8, 1),
        ("example", 15, 1),
    ]


def test_latent_counts_without_a_usable_box_are_refused():
    from jepa_vlm.errors import DataError

    with pytest.raises(DataError, match=r"None of 2 examples .* \(1 have no box, 1 boxes"):
        latent_counts([FACTS[2], FACTS[3]])
    for wrong in ((), (0, 4)):
        with pytest.raises(ValueError, match="latent steps of at least 1"):
            latent_counts(FACTS, inference=wrong)


@pytest.mark.parametrize("most", [16, 64, 65, 2560])
def test_bins_end_between_whole_numbers_and_hold_them_all(most):
    edges = _edges(most)
    assert edges == sorted(set(edges))
    assert all(edge % 1 == 0.5 for edge in edges)
    assert edges[0] == 0.5
    assert edges[-1] > most
    assert {4.5, 8.5, 16.5} <= set(edges)  # no bin lies on both sides of a line of inference


def test_the_figure_shows_the_shares():
    many = LatentCounts({1: 1, 300: 3}, {301: 1}, (4, 8, 16), 1, 0, 0, 0)
    drawn = latent_counts_figure({"<b>": latent_counts(FACTS), "many": many})
    ElementTree.fromstring(drawn)
    assert "<b>" not in drawn
    comments = set(re.findall(r"<!-- (.*?) -->", drawn))  # what each text says, as its letters are paths
    assert {"more than 4: 50%, 8: 25%, 16: 0%", "more than 4: 75%, 8: 75%, 16: 75%"} <= comments
