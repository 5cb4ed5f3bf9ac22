"""The order of examples: whole passes, shuffled by the seed, independent of how the run is cut."""

from __future__ import annotations

from collections import Counter

import pytest

from jepa_vlm.training.order import MicroBatches, Passes
from jepa_vlm.trajectories.rows import Mixture, Source


def first(count: int, *, of: int, seed: int) -> list[int]:
    passes = Passes(examples=range(of), seed=seed)
    return [passes.at(position) for position in range(count)]


def test_each_epoch_holds_every_example_once_and_epochs_differ() -> None:
    order = first(15, of=6, seed=3)
    assert sorted(order[:6]) == sorted(order[6:12]) == list(range(6))
    assert order[:6] != order[6:12]


def test_the_data_order_does_not_depend_on_the_order_of_access() -> None:
    passes = Passes(examples=range(5), seed=1)
    assert [passes.at(i) for i in reversed(range(20))] == first(20, of=5, seed=1)[::-1]


def test_different_seeds_give_different_data_orders() -> None:
    assert first(20, of=20, seed=0) != first(20, of=20, seed=1)


def test_micro_batches_cut_the_order_and_know_their_step() -> None:
    order = first(9, of=4, seed=2)
    cut = MicroBatches(examples="abcd", passes=Passes(examples="abcd", seed=2), starts=(0, 2, 3, 7, 9), per_step=2)
    assert [(batch.step, batch.trajectories) for batch in cut] == [
        (step, tuple("abcd"[i] for i in order[begin:end]))
        for step, begin, end in ((0, 0, 2), (0, 2, 3), (1, 3, 7), (1, 7, 9))
    ]
    assert len(cut) == 4
    assert [cut.passes_until(step) for step in range(3)] == [0, 0.75, 2.25]


def test_the_data_order_refuses_positions_beyond_its_end_and_no_examples() -> None:
    with pytest.raises(IndexError):
        MicroBatches(examples="a", passes=Passes(examples="a", seed=0), starts=(0, 1), per_step=1)[1]
    with pytest.raises(ValueError, match="at least one"):
        Passes(examples=[], seed=0)


MIXED = Mixture(
    [
        Source("a", [("a", i) for i in range(4)], 2),
        Source("b", [("b", i) for i in range(6)], 0.5),
        Source("c", [("c", i) for i in range(3)]),
    ]
)


def mixed(count: int) -> list[tuple[str, int]]:
    passes = Passes(examples=MIXED, seed=5)
    return [MIXED[passes.at(position)] for position in range(count)]


def test_an_epoch_over_a_mixture_shows_each_source_as_often_as_its_weight() -> None:
    order = mixed(28)
    assert Passes(examples=MIXED, seed=5).pass_length == 4 * 2 + 3 + 3
    for seen in (Counter(order[:14]), Counter(order[14:])):
        assert all(seen["a", i] == 2 for i in range(4))
        assert all(seen["c", i] == 1 for i in range(3))
        assert sum(seen["b", i] for i in range(6)) == 3
    halves = [{i for name, i in part if name == "b"} for part in (order[:14], order[14:])]
    assert sorted(halves[0] | halves[1]) == list(range(6))  # the two halves are each other's rest
    assert [name for name, _ in order[:14]] != sorted(name for name, _ in order[:14])


def test_a_mixture_resumes_exactly() -> None:
    forwards, passes = mixed(40), Passes(examples=MIXED, seed=5)
    assert [MIXED[passes.at(i)] for i in reversed(range(40))] == forwards[::-1]
    assert [MIXED[Passes(examples=MIXED, seed=5).at(i)] for i in (3, 17, 39)] == [forwards[i] for i in (3, 17, 39)]


def test_micro_batches_of_a_mixture_count_its_own_epochs() -> None:
    cut = MicroBatches(examples=MIXED, passes=Passes(examples=MIXED, seed=5), starts=(0, 3, 14, 28), per_step=1)
    assert [one for batch in cut for one in batch.trajectories] == mixed(28)
    assert [cut.passes_until(step) for step in range(4)] == [0, 3 / 14, 1, 2]
