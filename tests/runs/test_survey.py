"""Tokens inside a box, by hand; counts that do not grow with the rows."""

from __future__ import annotations

import json
import weakref

import pytest
from PIL import Image

from jepa_vlm.adapters import load_backbone
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.recipe import load_recipe
from jepa_vlm.runs.survey import BATCH, RowFacts, ViewTokens, box_tokens, survey
from jepa_vlm.runs.tally import Tally, spread
from jepa_vlm.trajectories import Box, LazyImage, Rows, Step, Trajectory


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


class Counted(Rows):
    """Rows that count how many of their trajectories are alive at once."""

    def __init__(self, count: int) -> None:
        self.count, self.alive, self.most = count, 0, 0

    def __len__(self) -> int:
        return self.count

    @property
    def ids(self):
        return [str(index) for index in range(self.count)]

    def place(self, index: int) -> str:
        return f"rows[{index}]"

    def read(self, index: int) -> Trajectory:
        self.alive += 1
        self.most = max(self.most, self.alive)
        image = LazyImage(pixels=Image.new("RGB", (32, 32), "red"))
        found = Trajectory(id=str(index), images=(image,), question="red?", steps=(Step("red"),), answer="red")
        weakref.finalize(found, self._gone)
        return found

    def _gone(self) -> None:
        self.alive -= 1


def test_a_survey_holds_no_row_once_its_facts_are_known():
    model = LatentVLM(load_backbone("tiny-random-qwen2.5-vl"), load_recipe("sft").objective)
    rows, tally, sizes = Counted(5 * BATCH), Tally(), []
    for facts in survey(rows, model):
        tally.add(facts)
        sizes.append(len(json.dumps(tally.summary())))
    assert tally.rows == 5 * BATCH
    assert tally.problems == {}
    assert rows.most <= 2
    assert sizes[-1] - sizes[0] < 40  # digits of counts, and nothing by row
