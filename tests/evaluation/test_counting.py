from __future__ import annotations

import pytest
from PIL import Image

from jepa_vlm.evaluation import MarkedAnswer
from jepa_vlm.evaluation.results import accuracy, accuracy_of_groups
from jepa_vlm.trajectories import LazyImage, MultipleChoice

IMAGES = (LazyImage(pixels=Image.new("RGB", (8, 8))),)


def make(marks: str, groups: str):
    items = [
        MultipleChoice(
            id=str(i), images=IMAGES, prompt="?", options=("x", "y"), answer=0, task="t", group=group.strip()
        )
        for i, group in enumerate(groups)
    ]
    answers = [MarkedAnswer(str(i), "t", "A", "A", mark == "1", "", False) for i, mark in enumerate(marks)]
    return items, answers


def test_a_pair_is_right_only_together():
    # a: both, b: one, c: none, d: both
    items, answers = make("11100011", "aabbccdd")
    assert accuracy(items, answers).value == 5 / 8
    pairs = accuracy_of_groups(items, answers)
    assert (pairs.correct, pairs.n, pairs.value) == (2, 4, 0.5)
    assert pairs.chance == pytest.approx(1 / 4)


def test_half_a_pair_does_not_count():
    items, answers = make("111", "aab")
    assert accuracy_of_groups(items, answers).n == 1


def test_no_groups():
    assert accuracy_of_groups(*make("11", "  ")) is None
    assert accuracy_of_groups(*make("11", "ab")) is None
