from __future__ import annotations

import pytest

from jepa_vlm.errors import DataError
from jepa_vlm.evaluation import load_benchmark
from jepa_vlm.evaluation.benchmarks import BENCHMARKS, differences, published_sizes
from tests.suites import write_mmvp


def read(argument):
    return BENCHMARKS["mmvp"](str(argument), count=None, seed=0)


@pytest.mark.parametrize("images", ["MMVP Images", "MMVP_Images"])
def test_mmvp_pictures_are_matched_by_file_stem(tmp_path, images):
    """Listed by name, 10.jpg comes before 2.jpg; zipped with the rows, ten of twelve would be wrong."""
    items = read(write_mmvp(tmp_path, count=12, images=images))
    assert [item.images[0].path.name for item in items] == [f"{index}.jpg" for index in range(1, 13)]
    assert [item.images[0].size[0] for item in items] == [16 + 2 * (index % 10) for index in range(1, 13)]


def test_rows_of_mmvp_become_items_in_pairs(tmp_path):
    items = read(write_mmvp(tmp_path))
    assert [item.id for item in items] == ["1", "2", "3", "4"]
    assert [item.group for item in items] == ["pair 1", "pair 1", "pair 2", "pair 2"]
    assert [item.answer for item in items] == [0, 1, 0, 1]
    assert items[0].options == ("Open", "Closed")
    assert items[0].question == "Is the door of truck 1 open, or closed?"
    assert items[0].source == "(a) Open (b) Closed"


def test_mmvp_uses_original_labels_unless_corrected_ones_are_requested(tmp_path):
    folder = write_mmvp(tmp_path, count=300)
    original, corrected = read(folder), read(f"{folder}#labels=corrected")
    changed = [int(a.id) for a, b in zip(original, corrected, strict=True) if a.answer != b.answer]
    assert changed == [99, 100, 279, 280]
    assert [corrected[index - 1].answer for index in changed] == [1, 0, 1, 0]
    asked = load_benchmark(f"mmvp:{folder}")
    assert differences(asked, published_sizes("mmvp", asked)) == []


def test_an_unknown_mmvp_label_set_is_refused(tmp_path):
    with pytest.raises(DataError, match="labels must be original or corrected, got 'mine'"):
        read(f"{write_mmvp(tmp_path)}#labels=mine")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\n3,", "\nthree,", "column 'Index' must be a whole number"),
        ("\n3,", "\n²,", "column 'Index' must be a whole number"),
        ("\n3,", f"\n{'3' * 5000},", "column 'Index' must be a whole number from 1, got '333"),
        ("\n3,", "\n2,", "Index 2 appears twice"),
        ("\n3,", "\n7,", r"no picture 7\.jpg"),
        ("(a) Open (b) Closed,(a)\r\n4", "Open or closed,(a)\r\n4", r"at least 2 of them"),
        ("(a) Open (b) Closed,(a)\r\n4", "Open (a) or (b) closed,(a)\r\n4", r"'Options' must be '\(a\)"),
        ("(a) Open (b) Closed,(a)\r\n4", "(a) Open (b) Closed,(c)\r\n4", "must be one of A, B, got '\\(c\\)'"),
    ],
)
def test_every_column_of_mmvp_is_checked(tmp_path, old, new, message):
    path = write_mmvp(tmp_path) / "Questions.csv"
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode())
    with pytest.raises(DataError, match=rf"Questions\.csv:4: .*{message}"):
        read(tmp_path)


def test_missing_files_and_columns_of_mmvp_are_named(tmp_path):
    with pytest.raises(DataError, match="no folder 'MMVP Images'"):
        read(tmp_path)
    write_mmvp(tmp_path)
    (tmp_path / "Questions.csv").write_text("Index,Question\n1,?\n")
    with pytest.raises(DataError, match="lacks the columns Options, Correct Answer"):
        read(tmp_path)
    (tmp_path / "Questions.csv").unlink()
    with pytest.raises(DataError, match=r"Questions\.csv does not exist"):
        read(tmp_path)
