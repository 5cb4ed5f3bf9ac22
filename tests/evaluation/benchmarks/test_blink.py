from __future__ import annotations

import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jepa_vlm.errors import DataError, JepaVLMError, UnknownNameError
from jepa_vlm.evaluation import load_benchmark
from jepa_vlm.evaluation.benchmarks import BENCHMARKS, SIZES, differences, published_sizes
from tests.suites import blink_row, small_blink, write_blink
from tests.trajectories.formats.files import png_header

HUGE = png_header(50_000, 50_000)
PAPER = ["Counting", "IQ_Test", "Jigsaw", "Relative_Reflectance", "Spatial_Relation"]


def read(argument):
    return BENCHMARKS["blink"](str(argument), count=None, seed=0)


def test_the_papers_five_subsets_are_the_default_of_blink(tmp_path):
    items = read(write_blink(tmp_path, small_blink() | {"Art_Style": [blink_row("Art_Style", 1, images=3)]}))
    assert list(dict.fromkeys(item.task for item in items)) == PAPER
    assert [len(item.images) for item in items if item.task == "Jigsaw"] == [3, 3]
    first = items[0]
    assert (first.id, first.options, first.answer) == ("val_Counting_1", ("zero", "one", "two", "three"), 1)
    assert first.source.endswith("(C) two\n(D) three\n")
    assert first.images[0].load().size == (32, 32)


@pytest.mark.parametrize("images", [1, 2, 3, 4])
def test_a_blink_item_has_one_to_four_images(tmp_path, images):
    folder = write_blink(tmp_path, {"Counting": [blink_row("Counting", 1, images=images)]})
    (item,) = read(f"{folder}#subsets=Counting")
    assert len(item.images) == images


def test_blink_subsets_are_chosen_by_name_or_all_at_once(tmp_path):
    folder = write_blink(tmp_path, {subset: [blink_row(subset, 1)] for subset in SIZES["blink"]})
    assert [item.task for item in read(f"{folder}#subsets=Jigsaw+Counting")] == ["Jigsaw", "Counting"]
    assert len(read(f"{folder}#subsets=all")) == 14
    with pytest.raises(UnknownNameError, match="Did you mean 'Counting'"):
        read(f"{folder}#subsets=Countin")


def test_blink_has_the_published_item_counts(tmp_path):
    assert sum(SIZES["blink"].values()) == 1901
    assert [SIZES["blink"][subset] for subset in PAPER] == [120, 150, 150, 134, 143]
    asked = load_benchmark(f"blink:{write_blink(tmp_path)}#subsets=Jigsaw")
    assert differences(asked, published_sizes("blink", asked)) == ["Jigsaw has 2 of 150 items"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_1": None}, "image_1 to image_4 are all empty"),
        ({"image_1": {"bytes": None, "path": "../../outside.jpg"}}, "leads outside the data root"),
        ({"choices": ["one"]}, "at least 2 options, got 1"),
        ({"choices": None}, "key 'choices' is missing"),
        ({"answer": "hidden"}, "got 'hidden'"),
        ({"question": None}, "key 'question' is missing"),
        ({"prompt": None}, "key 'prompt' is missing"),
        ({"idx": None}, "key 'idx' is missing"),
    ],
)
def test_every_field_of_a_blink_row_is_checked(tmp_path, change, message):
    (tmp_path / "outside.jpg").write_bytes(b"secret")
    rows = small_blink()
    rows["IQ_Test"][1] |= change
    folder = write_blink(tmp_path / "data", rows)
    with pytest.raises(DataError, match=rf"IQ_Test/val-00000-of-00001\.parquet:2: .*{message}"):
        read(folder)


@pytest.mark.parametrize(("content", "message"), [(b"words", "not a readable image"), (HUGE, "too many pixels")])
def test_a_bad_embedded_image_is_refused_before_any_question_is_answered(tmp_path, content, message):
    rows = small_blink()
    rows["IQ_Test"][1]["image_1"] = {"bytes": content, "path": None}
    folder = write_blink(tmp_path, rows)
    with pytest.raises(DataError, match=rf"IQ_Test/val-00000-of-00001\.parquet:2: .*{message}"):
        read(folder)


def test_a_text_with_invalid_utf8_is_named(tmp_path):
    folder = write_blink(tmp_path)
    path = folder / "Counting/val-00000-of-00001.parquet"
    table = pq.read_table(path)
    broken = pa.StringArray.from_buffers(len(table), *pa.array([b"\xff"] * len(table)).buffers()[1:])
    pq.write_table(table.set_column(table.schema.get_field_index("question"), "question", broken), path)
    with pytest.raises(DataError, match=r"val-00000-of-00001\.parquet cannot be read .*utf-8"):
        read(folder)


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    folder = write_blink(tmp_path)
    (folder / "Counting/val-00000-of-00001.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="cannot be read as parquet"):
        read(folder)
    (folder / "Counting/val-00000-of-00001.parquet").unlink()
    with pytest.raises(DataError, match=r"Counting has no val-\*\.parquet"):
        read(folder)


def test_without_pyarrow_the_error_names_what_to_install(tmp_path, monkeypatch):
    folder = write_blink(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(JepaVLMError, match=r"needs pyarrow; install it with: pip install 'jepa-vlm\[eval\]'"):
        read(folder)
