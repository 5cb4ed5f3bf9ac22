"""Counts that do not grow with the rows."""

from __future__ import annotations

import json
import weakref
from dataclasses import replace

from PIL import Image

from jepa_vlm.adapters import load_backbone
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.recipe import load_recipe
from jepa_vlm.runs.survey import BATCH, RowFacts, Tally, ViewTokens, spread, survey
from jepa_vlm.trajectories import Box, LazyImage, Rows, Step, ToolCall, Trajectory


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
    assert not tally.problems.counts
    assert rows.most <= 2
    assert sizes[-1] - sizes[0] < 40  # digits of counts, and nothing by row


def test_a_picture_is_decoded_once_whatever_its_crops(tmp_path, monkeypatch):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    image, box = LazyImage(path=tmp_path / "red.png"), Box(0, 0, 0.5, 0.5, relative=True)
    look = Step("I look.", call=ToolCall("crop", box=box), image=replace(image, region=box))
    row = Trajectory(id="0", images=(image,), question="red?", steps=(look, look, Step("red")), answer="red")
    loaded, load = [], LazyImage.load
    monkeypatch.setattr(LazyImage, "load", lambda image: loaded.append(image.region) or load(image))
    model = LatentVLM(load_backbone("tiny-random-qwen2.5-vl"), load_recipe("sft").objective)
    (facts,) = survey([row], model)
    assert (facts.problem, facts.images, loaded) == ("", 3, [None])
