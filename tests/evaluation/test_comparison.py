from __future__ import annotations

import pytest

from jepa_vlm.errors import DataError
from jepa_vlm.evaluation import compare


def test_exact_mcnemar_on_a_hand_worked_table(evaluation):
    # 10 items: 5 right in both, 4 in the second alone, 1 in the first alone.
    found = compare(evaluation("1111110000"), evaluation("1111101111"))
    assert (found.test.n, found.test.only_a, found.test.only_b) == (10, 1, 4)
    assert (found.first, found.second) == (0.6, 0.9)
    # Two-sided: 2 * P(at most 1 of 5 coin flips) = 2 * (1 + 5) / 32.
    assert found.test.p_value == pytest.approx(12 / 32)


def test_order_of_the_items_does_not_matter(evaluation):
    found = compare(evaluation("100", ids="abc"), evaluation("011", ids="cba"))
    assert (found.test.only_a, found.test.only_b) == (0, 1)  # a: right in both, b: second alone, c: wrong in both


def test_equal_answers_do_not_differ(evaluation):
    assert compare(evaluation("101"), evaluation("101")).test.p_value == 1.0


def test_other_items_are_refused(evaluation):
    with pytest.raises(DataError, match=r"4 ids are in one of them alone, such as 'a'.*same benchmark, count and seed"):
        compare(evaluation("101", ids="abx"), evaluation("101", ids="cdx"))


def test_other_truths_are_refused(evaluation):
    with pytest.raises(DataError, match="'item-0' has two different right answers"):
        compare(evaluation("11"), evaluation("11", truth="C"))


def test_a_missing_scoring_is_named(evaluation):
    with pytest.raises(DataError, match=r"no scoring 'letter-logits'; it has short"):
        compare(evaluation("11"), evaluation("11", scoring="short"))


def test_other_protocols_are_refused(evaluation):
    from dataclasses import replace

    first, second = evaluation("11"), evaluation("11")
    scored = replace(second.scored[0], protocol=replace(second.scored[0].protocol, max_pixels=1))
    with pytest.raises(DataError, match="protocols differ"):
        compare(first, replace(second, scored=(scored,)))
