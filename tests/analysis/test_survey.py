"""Counts that do not grow with the rows."""

from __future__ import annotations

from jepa_vlm.analysis.survey import RowFacts, ViewTokens
from jepa_vlm.analysis.tally import Tally, spread


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
