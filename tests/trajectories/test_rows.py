"""Rows of a source are read on access, and sliced, joined and mixed without reading."""

from __future__ import annotations

import pickle

import pytest

from jepa_vlm import playground
from jepa_vlm.trajectories.formats import read_jsonl, write_jsonl
from jepa_vlm.trajectories.rows import Joined, Mixture, Picked, Source


@pytest.fixture
def rows(tmp_path):
    """Five rows of a file of which line 4 is broken."""
    path = write_jsonl(playground.trajectories("maze", count=5), tmp_path / "train.jsonl")
    lines = path.read_text().splitlines()
    lines[3] = lines[3].replace('"question"', '"asked"')
    path.write_text("\n".join(lines))
    return read_jsonl(path)


def test_trajectories_of_a_source_are_read_one_by_one(rows):
    assert len(rows) == 5
    assert rows[-1].id == rows.ids[4] == rows[4].id
    assert rows.place(4).endswith("train.jsonl:5")
    with pytest.raises(Exception, match=r"train\.jsonl:4: key 'question' is missing"):
        rows[3]
    with pytest.raises(IndexError):
        rows[5]
    with pytest.raises(IndexError):
        rows[-6]


def test_slicing_a_source_reads_no_rows(rows):
    picked = rows[1::2]  # holds the broken row
    assert isinstance(picked, Picked)
    assert picked.ids == [rows.ids[1], rows.ids[3]]
    assert picked[0].id == picked.ids[0]
    assert picked.place(1) == rows.place(3)


def test_indices_continue_across_joined_sources(rows):
    joined = Joined([rows[:2], rows[:0], rows[4:]])
    assert [t.id for t in joined] == joined.ids == [rows.ids[i] for i in (0, 1, 4)]
    assert joined.place(2) == rows.place(4)
    assert joined.dropped == {}


def test_rows_can_be_pickled_for_workers(rows):
    again = pickle.loads(pickle.dumps(Joined([rows, rows[1:]])))
    assert (again[0].id, again[5].id) == (rows.ids[0], rows.ids[1])


def test_the_sources_of_a_mixture_follow_each_other():
    mixture = Mixture([Source("a", list("xy")), Source("b", list("z"), 0.5)])
    assert [*mixture] == mixture[:] == list("xyz")
    assert (mixture[-1], mixture[0]) == ("z", "x")
    assert [source.share for source in mixture.sources] == [2, 1]
    for index in (3, -4):
        with pytest.raises(IndexError):
            mixture[index]


@pytest.mark.parametrize(
    "sources",
    [
        [],
        [Source("a", "x"), Source("a", "y")],
        [Source("a", "")],
        [Source("a", "x", 0)],
        [Source("a", "x", float("nan"))],
    ],
)
def test_impossible_mixtures_are_refused(sources):
    with pytest.raises(ValueError, match="needs"):
        Mixture(sources)
