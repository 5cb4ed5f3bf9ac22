from __future__ import annotations

from collections import Counter

from jepa_vlm.playground import episodes, trajectories


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
