"""The order of examples: whole passes, shuffled by the seed, independent of the run's length."""

from __future__ import annotations

import pytest

from jepa_vlm.training.order import Passes


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
