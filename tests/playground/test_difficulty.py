from __future__ import annotations

import numpy as np
import pytest

from jepa_vlm.playground import Difficulty, episodes


def scenes(task, difficulty):
    return [episode.picture for episode, _ in episodes(task, count=60, seed=0, split="train", difficulty=difficulty)]


def test_the_dial_sets_sizes_and_counts_of_objects():
    for scene in scenes("visual-search", Difficulty(size=(10, 12), objects=(5, 6))):
        assert {thing.size for thing in scene.things} <= {10, 11, 12}
        assert len(scene.things) in (5, 6)


def test_it_sets_bars_and_ways():
    assert {len(chart.bars) for chart in scenes("chart-reading", Difficulty(bars=(7, 7)))} == {7}
    assert {len(maze.way(maze.start)[0]) for maze in scenes("maze", Difficulty(path=(2, 3)))} == {2, 3}


@pytest.mark.parametrize("task", ["visual-search", "relative-position", "sequential-crops"])
@pytest.mark.parametrize("difficulty", [Difficulty(size=(14, 14), objects=(40, 40)), Difficulty((4, 4), (4, 4))])
def test_objects_stay_in_cells_of_their_own(task, difficulty):
    for scene in scenes(task, difficulty):
        assert len({thing.cell for thing in scene.things}) == len(scene.things)
        for thing in scene.things:
            assert min(thing.offset) >= 1
            assert max(thing.offset) + thing.size <= 15


@pytest.mark.parametrize(
    "wrong",
    [{"size": (8, 6)}, {"size": (3, 6)}, {"size": (6, 15)}, {"objects": (0, 9)}, {"bars": (4, 8)}, {"path": (0, 2)}],
)
def test_impossible_ranges_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} must be .* got"):
        Difficulty(**wrong)


def test_smaller_objects_cover_fewer_pixels():
    def ink(size):
        (scene,) = scenes("visual-search", Difficulty(size=(size, size), objects=(10, 10)))[:1]
        bare = np.asarray(type(scene)(()).draw(np.random.default_rng(0)), float)
        full = np.asarray(scene.draw(np.random.default_rng(0)), float)
        return (np.abs(full - bare).max(-1) > 20).mean()

    assert ink(5) < ink(8) < ink(12)
