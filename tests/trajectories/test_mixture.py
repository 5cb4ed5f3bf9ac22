"""A mixture is its sources one after another."""

from __future__ import annotations

import pytest

from jepa_vlm.trajectories.mixture import Mixture, Source


def test_sources_follow_each_other():
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
