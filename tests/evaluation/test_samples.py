from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image

from jepa_vlm.adapters import load_backbone
from jepa_vlm.evaluation import Evaluation, evaluate, load_benchmark, load_protocol, scoring
from jepa_vlm.evaluation.protocols import LIBRARY
from jepa_vlm.generation import LetterAnswer, Plain
from jepa_vlm.trajectories import LazyImage
from tests.suites import write_mmvp


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    return load_benchmark(f"mmvp:{write_mmvp(tmp_path_factory.mktemp('mmvp'), count=10)}")


@pytest.fixture
def backbone():
    return load_backbone("tiny-random-qwen2.5-vl", seed=0)


RULES = replace(LIBRARY, max_new_tokens=3)


def run(backbone, items, folder, **options):
    settings = {"scorings": ("short", "free"), "benchmark": "mmvp:x", "batch_size": 4, "protocol": RULES, **options}
    return evaluate(backbone, items, samples=folder, **settings)


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_line_has_the_fields_that_lmms_eval_reads(backbone, items, tmp_path):
    found = run(backbone, items, tmp_path, scorings=("short",))
    rows = [json.loads(line) for line in (tmp_path / "short_samples_mmvp.jsonl").read_text().splitlines()]
    assert [row["doc_id"] for row in rows] == list(range(10))
    assert [row["target"] for row in rows] == ["A", "B"] * 5
    assert [row["score"] for row in rows] == [float(answer.correct) for answer in found["short"].answers]
    assert [row["filtered_resps"] for row in rows] == [answer.predicted for answer in found["short"].answers]
    assert rows[0]["input"] == items[0].prompt
    assert rows[0]["resps"] == [found["short"].answers[0].text]
    assert [row["group"] for row in rows[:3]] == ["pair 1", "pair 1", "pair 2"]
    assert len({row["doc_hash"] for row in rows}) == 10


class StoppedError(Exception):
    """An interruption."""


@pytest.mark.parametrize("done", [0, 1, 2])
def test_interrupted_and_restarted_gives_the_same_files(backbone, items, tmp_path, monkeypatch, done):
    whole = run(backbone, items, tmp_path / "whole")
    ask, asked = scoring.answers_by_scoring, []

    def counted(backbone, batch, **options):
        if len(asked) == done:
            raise StoppedError
        asked.append([item.id for item in batch])
        return ask(backbone, batch, **options)

    monkeypatch.setattr(scoring, "answers_by_scoring", counted)
    with pytest.raises(StoppedError):
        run(backbone, items, tmp_path / "part")
    done = -1  # no more interruptions
    assert run(backbone, items, tmp_path / "part") == whole
    assert asked == [[str(i) for i in range(a, b)] for a, b in ((1, 5), (5, 9), (9, 11))]
    assert files(tmp_path / "part") == files(tmp_path / "whole")


def test_a_torn_line_and_a_torn_batch_are_asked_again(backbone, items, tmp_path):
    whole = run(backbone, items, tmp_path)
    before = files(tmp_path)
    path = tmp_path / "free_samples_mmvp.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:6]) + lines[6][:20])  # two lines of the second batch, and a part of a third
    assert run(backbone, items, tmp_path) == whole
    assert files(tmp_path) == before


def test_a_finished_evaluation_asks_nothing(backbone, items, tmp_path, monkeypatch):
    whole = run(backbone, items, tmp_path)
    monkeypatch.setattr(scoring, "answers_by_scoring", lambda *_, **__: pytest.fail("asked again"))
    assert run(backbone, items, tmp_path) == whole


@pytest.mark.parametrize("change", ["weights", "protocol", "items", "picture", "batch_size"])
def test_answers_of_something_else_are_not_kept(backbone, items, tmp_path, monkeypatch, change):
    run(backbone, items, tmp_path)
    options = {}
    if change == "weights":
        with torch.no_grad():
            next(iter(backbone.model.lm_head.parameters())).add_(0.01)
    elif change == "protocol":
        options["protocol"] = load_protocol("lvr", benchmark="mmvp")
    elif change == "batch_size":
        options["batch_size"] = 5
    elif change == "picture":
        other = (LazyImage(pixels=Image.new("RGB", (32, 32), "white")),)
        items = [*items[:-1], replace(items[-1], images=other)]
    else:
        items = items[2:]
    ask, asked = scoring.answers_by_scoring, []

    def counted(backbone, batch, **options):
        asked.extend(item.id for item in batch)
        return ask(backbone, batch, **options | {"max_new_tokens": 1})

    monkeypatch.setattr(scoring, "answers_by_scoring", counted)
    run(backbone, items, tmp_path, **options)
    assert asked == [item.id for item in items]


def test_written_openings_are_counted_kept_and_read_back(backbone, items, tmp_path, monkeypatch):
    opening, asked = Plain(prefix="<|im_start|><|im_end|>", tokens=("<|im_start|>", "<|im_end|>")), []

    def ask(backbone, batch, **options):
        asked.append(options["answering"])
        return {"free": [LetterAnswer(one.id, "A", "A", opened=int(one.id[-1]) % 3) for one in batch]}

    monkeypatch.setattr(scoring, "answers_by_scoring", ask)
    options = {"scorings": ("free",), "answering": opening}
    first = run(backbone, items, tmp_path, **options)
    opened = [int(one.id[-1]) % 3 for one in items]
    use = {"whole": opened.count(2), "some": 10 - opened.count(0)}
    assert 0 < use["whole"] < use["some"] < 10
    assert first["free"].opening_use == first.summary()["free"]["opening_use"] == use
    assert first["free"].protocol.max_new_tokens == 3 + 2
    assert asked == [opening] * 3
    again = run(backbone, items, tmp_path, **options)  # nothing is asked anew
    assert (again["free"].opening_use, len(asked)) == (use, 3)
    first.to_json(tmp_path / "found.json")
    assert Evaluation.from_json(tmp_path / "found.json")["free"].opening_use == use
    run(backbone, items, tmp_path, scorings=("free",))
    assert len(asked) == 6
