"""Differences against closed forms, scipy, and thousands of tables in which nothing differs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from jepa_vlm.comparison import mean_interval, over_items, over_seeds_and_items

FIRST = [[1, 1, 0, 0, 1], [1, 0, 1, 0, 1], [1, 1, 1, 0, 1]]
SECOND = [[1, 0, 0, 0, 1], [0, 0, 1, 0, 1], [1, 0, 0, 1, 1]]


def test_students_interval_of_a_worked_sample():
    found = mean_interval([1.0, 2.0, 3.0, 4.0])  # std 1.29099, t(0.975, 3) = 3.18245
    assert found.value == 2.5
    assert (found.low, found.high) == pytest.approx((2.5 - 2.05426, 2.5 + 2.05426), abs=1e-5)
    assert (mean_interval([0.5]).low, mean_interval([0.5]).high) == (None, None)


def test_over_items_an_item_counts_with_its_mean_over_the_seeds():
    found = over_items([[True, True, False, False], [True, False, True, False]], [[True, False, False, False]])
    assert found == mean_interval([0.0, 0.5, 0.5, 0.0])


def test_over_items_is_scipys_paired_t():
    one, other = np.mean(FIRST, axis=0), np.mean(SECOND, axis=0)
    low, high = stats.ttest_rel(one, other).confidence_interval()
    found = over_items(FIRST, SECOND)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_over_seeds_and_items_from_its_definition_term_by_term():
    d = [[a - b for a, b in zip(x, y, strict=True)] for x, y in zip(FIRST, SECOND, strict=True)]
    s, i = 3, 5
    mean = sum(map(sum, d)) / (s * i)
    seeds = [sum(row) / i for row in d]
    items = [sum(row[k] for row in d) / s for k in range(i)]
    ms_seed = i * sum((one - mean) ** 2 for one in seeds) / (s - 1)
    ms_item = s * sum((one - mean) ** 2 for one in items) / (i - 1)
    rest = [d[a][b] - seeds[a] - items[b] + mean for a in range(s) for b in range(i)]
    ms_rest = sum(one**2 for one in rest) / ((s - 1) * (i - 1))
    variance = max(ms_seed + max(ms_item - ms_rest, 0), ms_item) / (s * i)
    found = over_seeds_and_items(FIRST, SECOND)
    assert float(found.value) == pytest.approx(mean)
    assert float(found.error) == pytest.approx(variance**0.5)
    assert found.df == 2
    assert float(found.p_value) == pytest.approx(2 * stats.t.sf(mean / variance**0.5, 2))
    half = stats.t.ppf(0.975, 2) * variance**0.5
    assert (float(found.low), float(found.high)) == pytest.approx((mean - half, mean + half))


def test_where_seeds_alone_differ_it_is_scipys_paired_t_over_seeds():
    """Every item is right or wrong as the seed decides, so that items add no variance of their own."""
    one, other = [[1] * 8, [1] * 8, [0] * 8, [1] * 8], [[0] * 8, [1] * 8, [0] * 8, [0] * 8]
    scipys = stats.ttest_rel([1, 1, 0, 1], [0, 1, 0, 0])
    found = over_seeds_and_items(one, other)
    assert float(found.p_value) == pytest.approx(scipys.pvalue)
    low, high = scipys.confidence_interval()
    assert (float(found.low), float(found.high)) == pytest.approx((low, high))


def test_the_mean_squares_are_those_of_an_analysis_of_variance():
    anova = pytest.importorskip("statsmodels.stats.anova")
    formula = pytest.importorskip("statsmodels.formula.api")
    pandas = pytest.importorskip("pandas")
    d = np.asarray(FIRST) - np.asarray(SECOND)
    rows = pandas.DataFrame([(s, i, float(d[s, i])) for s in range(3) for i in range(5)], columns=["s", "i", "d"])
    table = anova.anova_lm(formula.ols("d ~ C(s) + C(i)", rows).fit())["mean_sq"]
    seeds, items, rest = table["C(s)"], table["C(i)"], table["Residual"]
    variance = max(seeds + max(items - rest, 0), items) / 15
    assert float(over_seeds_and_items(FIRST, SECOND).error) == pytest.approx(variance**0.5)


def test_a_model_that_no_seed_decides_is_held_against_every_seed():
    same = over_seeds_and_items(FIRST, [SECOND[0]] * 3)
    assert float(over_seeds_and_items(FIRST, [SECOND[0]]).p_value) == float(same.p_value)
    assert float(over_seeds_and_items([SECOND[0]], FIRST).value) == pytest.approx(-float(same.value))


def test_seeds_that_agree_by_chance_prove_nothing():
    """Without the items' own variance, equal differences of two seeds would leave no variance at all."""
    found = over_seeds_and_items([[1, 0, 0, 0], [0, 1, 0, 0]], [[0, 0, 0, 0], [0, 0, 0, 0]])
    assert float(found.error) > 0
    assert float(found.p_value) > 0.1


@pytest.mark.parametrize(("items", "p_value"), [(1, 1.0), (3, 0.25), (11, 2**-10)])
def test_where_everything_agrees_the_items_are_as_sure_as_a_coin(items, p_value):
    """An error of 0 would say that one item settles it."""
    found = over_seeds_and_items([[1] * items] * 2, [[0] * items] * 2)
    assert (float(found.value), float(found.error), float(found.p_value)) == (1.0, 0.0, p_value)
    assert p_value == stats.binomtest(0, items).pvalue


def test_no_difference_has_p_one():
    assert float(over_seeds_and_items(FIRST, FIRST).p_value) == 1.0


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("by_seed", [0.0, 0.05])
@pytest.mark.parametrize("by_item", [0.0, 0.15])
def test_a_thousand_true_nulls_are_rejected_no_more_often_than_said(seeds, by_seed, by_item):
    """Both arms are equally good; a seed makes a checkpoint better or worse, and arms suit items differently."""
    tables, items, rng = 1000, 200, np.random.default_rng([seeds, int(100 * by_seed), int(100 * by_item)])
    difficulty = 0.3 + 0.6 * rng.random((tables, 1, items))
    arms = []
    for _ in range(2):
        luck = by_seed * rng.standard_normal((tables, seeds, 1)) + by_item * rng.standard_normal((tables, 1, items))
        arms.append(rng.random((tables, seeds, items)) < difficulty + luck)
    rejected = float((over_seeds_and_items(*arms).p_value < 0.05).mean())
    assert rejected <= 0.05 + 2.33 * (0.05 * 0.95 / tables) ** 0.5  # one-sided 99% of the Monte-Carlo error


def test_a_difference_that_is_there_is_found():
    rng = np.random.default_rng(0)
    one, other = rng.random((200, 5, 500)) < 0.8, rng.random((200, 5, 500)) < 0.6
    assert float((over_seeds_and_items(one, other).p_value < 0.05).mean()) > 0.95


@pytest.mark.parametrize(
    ("first", "second"), [(FIRST, SECOND[:2]), (FIRST, [row[:4] for row in SECOND]), (FIRST[:1], SECOND[:1])]
)
def test_tables_that_do_not_fit_are_refused(first, second):
    with pytest.raises(ValueError, match="must fit, with two seeds or more"):
        over_seeds_and_items(first, second)


def test_other_items_and_no_items_are_refused():
    with pytest.raises(ValueError, match="same items, got 5 and 4"):
        over_items(FIRST, [row[:4] for row in SECOND])
    with pytest.raises(ValueError, match="at least one of each"):
        over_items([[]], [[]])
