"""The order of examples: whole passes, shuffled by the seed, independent of the run's length."""

from __future__ import annotations

from collections import Counter

import pytest

from jepa_vlm.training.order import Passes
from jepa_vlm.trajectories.mixture import Mixture, Source


def test_each_pass_holds_every_example_once_and_passes_differ():
    order = list(Passes(examples=list("abcdef"), length=15, seed=3))
    assert sorted(order[:6]) == sorted(order[6:12]) == list("abcdef")
    assert order[:6] != order[6:12]
    assert len(order) == 15


def test_positions_are_the_same_in_any_order_of_asking_and_any_length():
    passes = Passes(examples=range(5), length=20, seed=1)
    forwards = [passes[i] for i in range(20)]
    assert [passes[i] for i in reversed(range(20))] == forwards[::-1]
    assert list(Passes(examples=range(5), length=7, seed=1)) == forwards[:7]


def test_seeds_differ():
    one, two = (list(Passes(examples=range(20), length=20, seed=seed)) for seed in (0, 1))
    assert one != two


def test_beyond_the_end_and_without_examples():
    with pytest.raises(IndexError):
        Passes(examples=[1], length=2, seed=0)[2]
    with pytest.raises(ValueError, match="at least one"):
        Passes(examples=[], length=2, seed=0)


def mixed(length: int) -> Passes:
    sources = [Source("a", [("a", i) for i in range(4)], 2), Source("b", [("b", i) for i in range(6)], 0.5)]
    return Passes(examples=Mixture([*sources, Source("c", [("c", i) for i in range(3)])]), length=length, seed=5)


def test_a_pass_over_a_mixture_shows_each_source_as_often_as_its_weight():
    order = list(mixed(28))
    assert mixed(28).pass_length == 4 * 2 + 3 + 3
    for seen in (Counter(order[:14]), Counter(order[14:])):
        assert all(seen["a", i] == 2 for i in range(4))
        assert all(seen["c", i] == 1 for i in range(3))
        assert sum(seen["b", i] for i in range(6)) == 3
    halves = [{i for name, i in part if name == "b"} for part in (order[:14], order[14:])]
    assert sorted(halves[0] | halves[1]) == list(range(6))  # the two halves are each other's rest
    assert [name for name, _ in order[:14]] != sorted(name for name, _ in order[:14])


def test_a_mixture_resumes_exactly():
    passes = mixed(40)
    forwards = [passes[i] for i in range(40)]
    assert [passes[i] for i in reversed(range(40))] == forwards[::-1]
    assert list(mixed(11)) == forwards[:11]
    assert [mixed(40)[i] for i in (3, 17, 39)] == [forwards[i] for i in (3, 17, 39)]
