"""Tokens inside a box, by hand; counts that do not grow with the rows."""

from __future__ import annotations

import pytest

from jepa_vlm.analysis.survey import RowFacts, ViewTokens, box_tokens
from jepa_vlm.analysis.tally import Tally, spread
from jepa_vlm.trajectories import Box


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ((0, 0, 1, 1), 4 * 3),  # the whole image: 8 x 6 patches, merged two by two
        ((0, 0, 0.25, 1 / 3), 1),  # two patches by two: one token
        ((0.1, 0, 0.26, 1 / 3), 2),  # patches 0 to 2: tokens 0 and 1
        ((0.13, 0.2, 0.24, 0.3), 1),  # inside one token
        ((0.9, 0.9, 1, 1), 1),
    ],
)
def test_the_edges_of_a_box_go_outwards_to_whole_tokens(edges, expected):
    assert box_tokens(Box(*edges, relative=True), (80, 60), (6, 8), 12) == expected
    left, top, right, bottom = edges
    pixels = Box(left * 80, top * 60, right * 80, bottom * 60, relative=False)
    assert box_tokens(pixels, (80, 60), (6, 8), 12) == expected


def test_a_tally_counts_values_and_names_the_first_offenders():
    tally = Tally()
    for number in range(8):
        tally.add(RowFacts(f"x[{number}]", "box", f"x[{number}]: bad"))
    for total in (10, 20, 30, 40):
        tally.add(
            RowFacts("y", calls=1, tools=("crop",), boxes=(0.5,), latents=(3,), tokens={"v": ViewTokens(total, 4, 2)})
        )
    found = tally.summary()
    assert (found["rows"], found["good"], found["bad"]) == (12, 4, 8)
    assert found["problems"] == {"box": {"count": 8, "first": [f"x[{i}]: bad" for i in range(5)]}}
    assert found["tokens"]["v"]["total"] == {"count": 4, "min": 10, "mean": 25.0, "median": 20, "p95": 40, "max": 40}
    assert (found["box_percent"], found["box_tokens"], found["tools"]) == ({"50": 4}, {"3": 4}, {"crop": 4})
    assert spread(type(tally.latents)()) == {"count": 0}
