"""The choice of expert tokens for each example, and the words around them."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import pytest

from jepa_vlm.contrib.covt import (
    AheadOfReasoning,
    AllKinds,
    AsAnswer,
    BehindImages,
    PaddedConversation,
    Pads,
    SomeKinds,
)

PADS = (Pads("<a>", 2, "the a "), Pads("<b>", 1, "the b "), Pads("<c>", 3, "the c "))
MANY = [f"example-{number}" for number in range(6000)]


def test_words_surround_the_chosen_expert_tokens():
    view = PaddedConversation(pads=PADS, place=AheadOfReasoning(lead="Because ", between=", and ", close=". "))
    assert view.written((0, 1, 2)) == "Because the a <a><a>, and the b <b>, and the c <c><c><c>. "
    assert view.written((2,)) == "Because the c <c><c><c>. "
    assert view.written(()) == ""
    assert PaddedConversation(pads=PADS).written((0, 1)) == "the a <a><a>the b <b>"


def test_a_random_part_of_the_expert_tokens_has_its_share_over_many_examples():
    kinds = SomeKinds(none=1 / 6)
    found = Counter(kinds.chosen(example, 3) for example in MANY)
    assert set(found) == {part for size in range(4) for part in combinations(range(3), size)}
    # 1,000 without any, and as many of each size: 5,000 / 3, shared by three parts of size 1 and of size 2
    expected = {0: 1000, 1: 5000 / 9, 2: 5000 / 9, 3: 5000 / 3}
    for part, count in found.items():
        assert abs(count - expected[len(part)]) < 4.5 * expected[len(part)] ** 0.5, part


def test_the_random_choice_of_expert_tokens_depends_on_example_and_seed_alone():
    some = [SomeKinds(none=0.5).chosen(example, 3) for example in MANY[:64]]
    assert [SomeKinds(none=0.5).chosen(example, 3) for example in reversed(MANY[:64])] == some[::-1]
    assert [SomeKinds(none=0.5, seed=1).chosen(example, 3) for example in MANY[:64]] != some
    assert SomeKinds().chosen("playground-4", 3) == (1,)  # fixed for good: a resumed run must draw the same
    assert all(SomeKinds(none=0).chosen(example, 2) for example in MANY)
    assert {AllKinds().chosen(example, 3) for example in MANY[:9]} == {(0, 1, 2)}


def test_arguments_that_make_no_view_with_expert_tokens_are_refused():
    with pytest.raises(ValueError, match=r"share of examples .* \[0, 1\)"):
        SomeKinds(none=1.0)
    with pytest.raises(ValueError, match="need a question"):
        AsAnswer(question=" ")
    for pads in ((), (PADS[0], PADS[0])):
        with pytest.raises(ValueError, match="different tokens"):
            PaddedConversation(pads=pads)
    with pytest.raises(ValueError, match="cannot be without any"):
        PaddedConversation(pads=PADS, place=AsAnswer(question="What?"), kinds=SomeKinds())
    with pytest.raises(ValueError, match="nothing else to train"):
        PaddedConversation(pads=PADS, place=AsAnswer(question="What?"), supervised=False)
    with pytest.raises(ValueError, match="'all' or 'last'"):
        PaddedConversation(pads=PADS, turns="first")
    assert PaddedConversation(pads=PADS, place=BehindImages(), kinds=SomeKinds())
