"""The order of examples: whole passes, shuffled by the seed, independent of how the run is cut."""

from __future__ import annotations

import pytest

from jepa_vlm.training.order import MicroBatches, Passes


def first(count: int, *, of: int, seed: int) -> list[int]:
    passes = Passes(count=of, seed=seed)
    return [passes.at(position) for position in range(count)]


def test_each_pass_holds_every_example_once_and_passes_differ() -> None:
    order = first(15, of=6, seed=3)
    assert sorted(order[:6]) == sorted(order[6:12]) == list(range(6))
    assert order[:6] != order[6:12]


def test_positions_are_the_same_in_any_order_of_asking() -> None:
    passes = Passes(count=5, seed=1)
    assert [passes.at(i) for i in reversed(range(20))] == first(20, of=5, seed=1)[::-1]


def test_seeds_differ() -> None:
    assert first(20, of=20, seed=0) != first(20, of=20, seed=1)


def test_micro_batches_cut_the_order_and_know_their_step() -> None:
    order = first(9, of=4, seed=2)
    cut = MicroBatches(examples="abcd", passes=Passes(count=4, seed=2), starts=(0, 2, 3, 7, 9), per_step=2)
    assert [(batch.step, batch.trajectories) for batch in cut] == [
        (step, tuple("abcd"[i] for i in order[begin:end]))
        for step, begin, end in ((0, 0, 2), (0, 2, 3), (1, 3, 7), (1, 7, 9))
    ]
    assert len(cut) == 4
    assert [cut.passes_until(step) for step in range(3)] == [0, 0.75, 2.25]


def test_beyond_the_end_and_without_examples() -> None:
    with pytest.raises(IndexError):
        MicroBatches(examples="a", passes=Passes(count=1, seed=0), starts=(0, 1), per_step=1)[1]
    with pytest.raises(ValueError, match="at least one"):
        Passes(count=0, seed=0)
