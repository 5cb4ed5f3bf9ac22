from __future__ import annotations

import json

import pytest

from jepa_vlm.errors import DataError
from jepa_vlm.evaluation import load_benchmark
from jepa_vlm.evaluation.benchmarks import BENCHMARKS, differences, published_sizes
from tests.suites import GLOVE, vstar_rows, write_vstar


def read(folder, **options):
    return BENCHMARKS["vstar"](str(folder), count=None, seed=0, **options)


def test_rows_of_vstar_become_items(tmp_path):
    items = read(write_vstar(tmp_path))
    assert [item.id for item in items] == [f"direct_attributes/{i}" for i in range(3)] + [
        "relative_position/3",
        "relative_position/4",
    ]
    first, side = items[0], items[3]
    assert (first.question, first.options, first.answer) == (
        "What is the material of the glove?",
        ("rubber", "cotton", "kevlar", "leather"),
        0,
    )
    assert (side.options, side.answer, side.task) == (("right", "left"), 1, "relative_position")
    assert first.source == GLOVE
    assert first.images[0].path == tmp_path / "direct_attributes/sa_0.jpg"


def test_vstar_has_the_published_item_counts(tmp_path):
    whole = load_benchmark(f"vstar:{write_vstar(tmp_path / 'whole', direct=115, relative=76)}")
    assert len(whole) == 191
    assert differences(whole, published_sizes("vstar", whole)) == []
    part = load_benchmark(f"vstar:{write_vstar(tmp_path / 'part')}")
    assert differences(part, published_sizes("vstar", part)) == [
        "direct_attributes has 3 of 115 items",
        "relative_position has 2 of 76 items",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": "../outside.jpg"}, "leads outside the data root"),
        ({"image": "/etc/hostname"}, "must be relative"),
        ({"image": "direct_attributes/gone.jpg"}, "does not exist"),
        ({"text": None}, "key 'text' is missing"),
        ({"text": "What is it? (A) one"}, "at least 2 of them"),
        ({"text": "What is it? (A) one (C) two"}, r"\(A\) \.\.\. \(B\) \.\.\. in order"),
        ({"category": "OCR"}, "must be one of direct_attributes, relative_position; got 'OCR'"),
        ({"label": "E"}, "must be one of A, B, C, D, got 'E'"),
        ({"question_id": "first"}, "key 'question_id' must be a whole number"),
        ({"question_id": "²"}, "key 'question_id' must be a whole number"),
    ],
)
def test_every_field_of_a_vstar_row_is_checked(tmp_path, change, message):
    write_vstar(tmp_path / "data")
    (tmp_path / "outside.jpg").write_bytes(b"secret")
    rows = vstar_rows(3, 2)
    rows[1] |= change
    (tmp_path / "data/test_questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=f"test_questions.jsonl:2: .*{message}"):
        read(tmp_path / "data")


def test_a_vstar_line_ends_only_at_a_newline(tmp_path):
    """Unicode has more line ends, which a text may hold as they are."""
    write_vstar(tmp_path)
    rows = vstar_rows(3, 2)
    rows[1]["text"] = "What\u2028is\u0085it? (A) one (B) two"
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / "test_questions.jsonl").write_text(text, encoding="utf-8")
    assert [item.question for item in read(tmp_path)][1] == "What\u2028is\u0085it?"


def test_a_vstar_line_that_is_no_json_is_refused(tmp_path):
    write_vstar(tmp_path)
    with (tmp_path / "test_questions.jsonl").open("a") as file:
        file.write("{oops\n")
    with pytest.raises(DataError, match=r"test_questions\.jsonl:6: "):
        read(tmp_path)


def test_a_folder_that_is_not_vstar_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"must be a download of craigwu/vstar_bench"):
        read(tmp_path)
