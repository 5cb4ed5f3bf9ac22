"""The policy for bad rows: the options that set it, and how many rows it leaves out."""

from __future__ import annotations

import pytest

from jepa_vlm.errors import BackboneError, DataError, UnknownNameError
from jepa_vlm.trajectories.bad_rows import BadRows
from jepa_vlm.trajectories.load import load_trajectories
from jepa_vlm.trajectories.rows import Joined, RowReader
from tests.trajectories.formats.files import make_root, write_example


def test_options_of_a_source_set_the_policy_for_bad_rows():
    assert BadRows.of({}) == BadRows("refuse", 0.02)
    assert BadRows.of({"bad": "skip", "max_bad": "0.5"}) == BadRows("skip", 0.5)
    with pytest.raises(UnknownNameError, match=r"No policy for bad rows named .skp.\. Did you mean .skip."):
        BadRows.of({"bad": "skp"})
    for share in ("2%", "1.5", "-1", "nan"):
        with pytest.raises(DataError, match="max_bad must be a share from 0 to 1"):
            BadRows.of({"bad": "clamp", "max_bad": share})
    with pytest.raises(DataError, match="say #bad=skip or #bad=clamp with it"):
        BadRows.of({"max_bad": "0.1"})


@pytest.mark.parametrize(
    ("policy", "most", "bad", "rows", "allowed"),
    [
        ("refuse", 0.02, 0, 5, True),
        ("refuse", 0.02, 1, 100, False),
        ("skip", 0.02, 1, 50, True),
        ("skip", 0.02, 1, 49, False),
        ("skip", 0.29, 29, 100, True),  # 0.29 * 100 is less than 29 in floats
        ("clamp", 0.29, 30, 100, False),
        ("clamp", 0.0, 0, 100, True),
        ("skip", 1.0, 4, 5, True),
        ("skip", 1.0, 5, 5, False),
    ],
)
def test_bad_rows_may_be_left_out_up_to_a_share_and_never_all(policy, most, bad, rows, allowed):
    assert BadRows(policy, most).allows(bad, rows) is allowed


def test_the_policy_for_bad_rows_holds_for_all_parts_of_a_source(tmp_path):
    rows = load_trajectories(f"{write_example('thinkmorph', make_root(tmp_path))}#bad=skip,max_bad=0.1,cap=2")
    assert rows.bad == rows[1:].bad == BadRows("skip", 0.1)
    assert list(rows.sources) == [rows]
    assert [one.bad for one in Joined([rows, rows.under(BadRows())]).sources] == [BadRows("skip", 0.1), BadRows()]


@pytest.mark.parametrize(
    ("error", "kind"), [(DataError("too thin", "picture"), "picture"), (BackboneError("no"), "chat template")]
)
def test_rows_that_only_the_backbone_refuses_are_counted_with_their_position(tmp_path, error, kind):
    rows = load_trajectories(f"{write_example('lvr', make_root(tmp_path))}#bad=skip")

    def check(trajectory):
        if trajectory.id == "lvr-1":
            raise error
        return len(trajectory.id)

    reader = RowReader(rows.bad)
    assert [(index, found) for index, _, found in reader.read(rows, check)] == [(0, 5), (2, 5)]
    assert reader.problems.summary() == {kind: {"count": 1, "first": [f"{rows.place(1)}: {error}"]}}
    with pytest.raises(type(error), match=r"lvr\.json\[1\]: .*put #bad=skip behind the data"):
        list(RowReader(BadRows()).read(rows, check))
