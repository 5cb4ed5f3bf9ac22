from __future__ import annotations

import pytest
import torch

from benchmarks.learning.controls import blanked, true_and_shuffled
from jepa_vlm import MSELoss, playground


def test_blanked_questions_keep_everything_but_what_is_seen():
    items = playground.questions("mixture", count=6)
    for item, blank in zip(items, blanked(items), strict=True):
        assert (blank.id, blank.prompt, blank.options, blank.answer) == (
            item.id, item.prompt, item.options, item.answer,
        )  # fmt: skip
        assert blank.images[0].size == item.images[0].size
        assert len(blank.images[0].load().getcolors()) == 1


def test_shuffled_targets_are_all_others_of_the_same_group():
    predicted = torch.tensor([[0.0], [1.0], [3.0], [9.0], [5.0]])
    target = torch.tensor([[0.0], [2.0], [4.0], [9.0], [100.0]])
    found = true_and_shuffled(MSELoss(), predicted, target, ["a", "a", "b", "a", "b"])
    true = [0, 1, 0, 1, 95**2]
    shuffled = [(2**2 + 9**2) / 2, (1 + 8**2) / 2, (9**2 + 7**2) / 2, 97**2, 1]
    assert found["n"] == 5
    assert found["true"] == pytest.approx(sum(true) / 5)
    assert found["shuffled"] == pytest.approx(sum(shuffled) / 5)
    apart = [(2**2 + 9**2) / 2, (2**2 + 7**2) / 2, 96**2, (9**2 + 7**2) / 2, 96**2]
    assert found["apart"] == pytest.approx(sum(apart) / 5)
    assert found["difference"]["value"] == pytest.approx(found["shuffled"] - found["true"], rel=1e-6)


def test_an_example_alone_in_its_group_has_no_other():
    predicted = torch.zeros(3, 1)
    assert true_and_shuffled(MSELoss(), predicted, predicted, ["a", "b", "a"])["n"] == 2
    with pytest.raises(ValueError, match="two examples of one group"):
        true_and_shuffled(MSELoss(), predicted, predicted, ["a", "b", "c"])
