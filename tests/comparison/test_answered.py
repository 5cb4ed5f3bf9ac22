from __future__ import annotations

from dataclasses import replace

import pytest

from jepa_vlm.comparison import Answered
from jepa_vlm.comparison.record import check_same_items
from jepa_vlm.errors import DataError
from tests.comparison.evaluations import evaluation


def test_marks_are_those_of_the_headline_by_task():
    model = Answered("sft", 0, {"maze": evaluation([1, 0, 1], tasks=["a", "b", "a"])})
    assert model.marks("maze") == [True, False, True]
    assert model.marks("maze", "a") == [True, True]


def test_models_that_answered_other_items_are_refused():
    one = Answered("sft", 0, {"maze": evaluation([1, 0])})
    check_same_items([one, replace(one, arm="pearl")])
    with pytest.raises(DataError, match="those of sft and pearl are not the same"):
        check_same_items([one, Answered("pearl", 0, {"maze": evaluation([1, 0, 1])})])
    with pytest.raises(DataError, match="same benchmarks"):
        check_same_items([one, Answered("pearl", 0, {"jigsaw": evaluation([1, 0])})])
    with pytest.raises(DataError, match="at least one"):
        check_same_items([])
