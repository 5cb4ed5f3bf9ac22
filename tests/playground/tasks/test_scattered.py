"""Each task on scattered objects has one answer, and the expert's crops show it."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from jepa_vlm.playground import episodes, trajectories


@pytest.mark.parametrize("split", ["train", "test"])
def test_one_object_alone_is_named_and_the_answer_is_its_other_attribute(split):
    kinds = set()
    for episode, _ in episodes("visual-search", count=200, split=split):
        asked, named = episode.question.split()[1], episode.question.rstrip("?").split()[4]
        matching = [thing for thing in episode.picture.things if named in (thing.color, thing.shape)]
        assert len(matching) == 1
        assert episode.options[episode.answer] == getattr(matching[0], asked)
        (look,) = episode.actions
        assert (look.call.arguments["column"], look.call.arguments["row"]) == matching[0].cell
        assert look.text.endswith(f"at {matching[0].place}.")
        kinds.add(asked)
    assert kinds == {"color", "shape"}


def test_the_answer_follows_from_the_centres_of_the_two_objects_and_the_crop_shows_both():
    seen = set()
    for episode, _ in episodes("relative-position", count=300):
        first, second = re.fullmatch(r"Where is the (.+) from the (.+)\?", episode.question).groups()
        (thing,) = (t for t in episode.picture.things if t.name == first)
        (anchor,) = (t for t in episode.picture.things if t.name == second)
        dx, dy = (16 * (thing.cell[i] - anchor.cell[i]) + thing.offset[i] - anchor.offset[i] for i in (0, 1))
        assert sorted((abs(dx), abs(dy))) == [0, 16]
        expected = {(-16, 0): "left", (16, 0): "right", (0, -16): "above", (0, 16): "below"}[dx, dy]
        assert episode.options[episode.answer] == expected
        box = episode.actions[0].call.box.in_pixels(112, 112)
        for cell in (thing.cell, anchor.cell):
            assert box[0] <= 16 * (cell[0] - 1) < 16 * cell[0] <= box[2]
            assert box[1] <= 16 * (cell[1] - 1) < 16 * cell[1] <= box[3]
        seen.add(expected)
    assert len(seen) == 4


def test_one_option_alone_has_the_shape_and_the_expert_looks_until_it_is_found():
    for episode, _ in episodes("sequential-crops", count=200):
        wanted = episode.question.rstrip("?").split()[-1]
        candidates = []
        for color in episode.options:
            (thing,) = (t for t in episode.picture.things if t.color == color)
            candidates.append(thing)
        assert [thing.shape == wanted for thing in candidates] == [i == episode.answer for i in range(4)]
        looked = [(a.call.arguments["column"], a.call.arguments["row"]) for a in episode.actions]
        assert looked == [thing.cell for thing in candidates[: min(episode.answer + 1, 3)]]
        for before, action in zip(candidates, episode.actions[1:], strict=False):
            assert action.text.startswith(f"It is a {before.shape}. ")


def test_one_to_three_calls_happen():
    calls = Counter(trajectory.calls for trajectory in trajectories("sequential-crops", count=80, direct_share=0))
    assert set(calls) == {1, 2, 3}
