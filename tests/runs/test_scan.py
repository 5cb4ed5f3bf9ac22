"""Before a run: rows that cannot be used are refused, left out, or repaired, by the policy of their source."""

from __future__ import annotations

import json

import pytest
from PIL import Image

import jepa_vlm as jv
from jepa_vlm.cli.recipe_command import plan_text
from jepa_vlm.errors import DataError
from jepa_vlm.runs.data import first_trajectories, held_out_trajectories, load_data
from jepa_vlm.runs.plan import plan_run
from jepa_vlm.runs.scan import scan
from jepa_vlm.runs.settings import RunSettings
from jepa_vlm.trajectories.formats.records import THINNEST
from tests.trajectories.formats.files import example, make_root, write_records

THIN = [0, 0.5, 1, 0.5005]  # 2,000 x 1 pixels
BAD = {
    "image shape": {"image": ["w.png"], "bboxes": [THIN]},
    "special token": {"dataset": "d", "conversations": [{"from": "human", "value": "<image>a <|im_end|> b"}]},
    "image missing": {"image": ["gone.png"]},
    "box": {"bboxes": [[0, 0, 0.5, 1.5]]},
}


@pytest.fixture(scope="module")
def model():
    return jv.LatentVLM(jv.load_backbone("tiny-random-qwen2.5-vl"), jv.load_recipe("sft").objective)


@pytest.fixture
def lvr(tmp_path):
    """Return what writes 100 rows, some of them bad, and returns their data spec."""
    root = make_root(tmp_path)
    Image.new("RGB", (2000, 2000)).save(root / "w.png")
    for number in range(100):  # rows that share a picture are held out together
        Image.new("RGB", (40, 20), (number, 0, 0)).save(root / f"{number}.png")

    def write(**bad: str) -> str:
        rows = [example("lvr") | {"image": [f"{i}.png"]} for i in range(100)]
        for index, kind in bad.items():
            row = rows[int(index[1:])] | BAD[kind]
            row["conversations"] = [*row["conversations"], *example("lvr")["conversations"][1:]][:2]
            rows[int(index[1:])] = row
        return write_records("lvr", root, *rows)

    return write


def scanned(model, spec: str):
    return scan(model, load_data(spec), limit=None, policy="error")


def test_the_thinnest_crop_that_is_made_is_the_thinnest_that_can_be_read(model):
    tokens = model.backbone.adapter.image_tokens
    assert tokens(model.backbone.processor, THINNEST, 1).length > 0
    with pytest.raises(DataError, match="cannot be read") as caught:
        tokens(model.backbone.processor, THINNEST + 1, 1)
    assert caught.value.problem == "image shape"


@pytest.mark.parametrize("kind", BAD)
def test_one_bad_row_of_a_hundred_stops_a_run_or_is_left_out(model, lvr, kind):
    spec = lvr(_7=kind)
    with pytest.raises(DataError, match=r"lvr\.json\[7\]: .*put #bad=skip behind the data") as caught:
        scanned(model, spec)
    assert caught.value.problem == kind
    found = scanned(model, f"{spec}#bad=skip")
    ids = [one.id for part in (found.train, found.validation) for one in part.kept]
    assert sorted(ids) == sorted(f"lvr-{i}" for i in range(100) if i != 7)
    (record,) = found.sources.values()
    assert (record["bad"], record["rows"], record["left_out"][kind]["count"]) == ("skip", 100, 1)
    assert found.lines() == [f"lvr: left out 1 x {kind}"]


def test_clamp_repairs_boxes_and_thin_crops_and_leaves_out_the_rest(model, lvr):
    spec = lvr(_0="box", _1="image shape", _2="box", _3="image missing", _4="special token")
    found = scanned(model, f"{spec}#bad=clamp")
    assert [part.kept.ids for part in (found.train, found.validation)] == [
        [f"lvr-{i}" for i in range(100) if i not in (3, 4) and f"lvr-{i}" not in found.validation.kept.ids],
        found.validation.kept.ids,
    ]
    assert found.lines() == [
        "lvr: left out 1 x image missing",
        "lvr: left out 1 x special token",
        "lvr: 2 x box cut to its image",
        "lvr: 1 x thin crop widened",
    ]


def test_more_bad_rows_than_may_be_left_out_stop_the_run_with_kinds_counts_and_places(model, lvr):
    spec = lvr(_1="box", _2="image missing", _3="box")
    with pytest.raises(
        DataError, match=r"3 of 100 rows are bad \(3.0%\); #max_bad=0.02 is the largest share"
    ) as caught:
        scanned(model, f"{spec}#bad=skip")
    lines = str(caught.value).splitlines()[1:]
    assert [line.strip()[:12] for line in lines if line.startswith("  ") and line[2] != " "] == [
        "2 x box",
        "1 x image mi",
    ]
    assert [n in line for n, line in zip(("[1]", "[3]", "[2]"), [lines[1], lines[2], lines[4]], strict=True)] == [
        True
    ] * 3
    assert sum(map(len, (found.kept for found in _parts(scanned(model, f"{spec}#bad=skip,max_bad=0.03"))))) == 97


def _parts(found):
    return found.train, found.validation


def test_every_held_out_row_may_be_bad_in_a_small_file_and_that_is_said(model, tmp_path):
    rows = [example("lvr") for _ in range(6)]
    (held,) = load_data(write_records("lvr", make_root(tmp_path), *rows)).validation.ids
    told = [*BAD["special token"]["conversations"], example("lvr")["conversations"][1]]
    rows[int(held.partition("-")[2])] |= {"conversations": told}
    spec = write_records("lvr", tmp_path / "data", *rows)
    with pytest.raises(DataError, match=r"Every row to hold out is bad; repair the data\.\n  1 x special token"):
        scanned(model, f"{spec}#bad=skip,max_bad=0.5")


def test_each_source_of_a_mixture_has_its_own_policy(model, lvr, tmp_path):
    spec = lvr(_1="box", _2="image missing")
    other = write_records("pixelreasoner", tmp_path / "data", *[example("pixelreasoner")] * 3)
    found = scanned(model, f"{spec}#bad=clamp,{other}*2")
    assert {name: (one["bad"], one["rows"]) for name, one in found.sources.items()} == {
        "lvr": ("clamp", 100),
        "pixelreasoner": ("refuse", 3),
    }
    assert found.lines()[-1] == "pixelreasoner: 3 x box read as pixels; #boxes= names another unit"
    assert [len(source.examples) for source in found.train.kept.sources] == [95, 2]
    with pytest.raises(DataError, match=r"lvr\.json\[1\]: Box"):
        scanned(model, f"{spec},{other}#bad=skip*2")


def test_the_counts_stand_in_the_record_and_on_the_screen(lvr):
    spec = f"{lvr(_1='special token')}#bad=skip"
    plan = plan_run("sft", RunSettings(backbone="tiny-random-qwen2.5-vl", data=spec, max_tokens=4000))
    record = json.loads(json.dumps(plan.config()))
    assert record["bad_rows"]["lvr"]["left_out"]["special token"]["count"] == 1
    assert record["examples"] == {"train": 94, "validation": 5}
    assert "lvr: left out 1 x special token" in plan_text(plan)


def test_commands_that_read_a_few_rows_pass_over_bad_ones(lvr):
    spec = lvr(_0="image missing")
    with pytest.raises(DataError, match="put #bad=skip behind the data"):
        first_trajectories(spec, count=2)
    assert [one.id for one in first_trajectories(f"{spec}#bad=skip", count=2)] == ["lvr-1", "lvr-2"]
    assert len(held_out_trajectories(f"{spec}#bad=skip", count=4)[0]) == 4
