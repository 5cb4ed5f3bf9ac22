from __future__ import annotations

import numpy as np
import pytest

from jepa_vlm.playground import TASKS, Difficulty, episodes

SCENES = ("visual-search", "relative-position", "sequential-crops")


def scenes(task, **dials):
    return [episode.picture for episode, _ in episodes(task, count=60, seed=0, split="train", dials=dials)]


def test_the_difficulty_sets_sizes_and_counts_of_objects():
    for scene in scenes("visual-search", size=(10, 12), objects=(5, 6)):
        assert {thing.size for thing in scene.things} <= {10, 11, 12}
        assert len(scene.things) in (5, 6)


def test_the_difficulty_sets_bars_of_charts_and_paths_of_mazes():
    assert {len(chart.bars) for chart in scenes("chart-reading", bars=(7, 7))} == {7}
    assert {len(maze.way(maze.start)[0]) for maze in scenes("maze", path=(2, 3))} == {2, 3}


@pytest.mark.parametrize("task", ["visual-search", "relative-position", "sequential-crops"])
@pytest.mark.parametrize(("size", "objects"), [(14, 40), (4, 4)])
def test_objects_stay_in_cells_of_their_own(task, size, objects):
    for scene in scenes(task, size=(size, size), objects=(objects, objects)):
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
        (scene,) = scenes("visual-search", size=(size, size), objects=(10, 10))[:1]
        bare = np.asarray(type(scene)(()).draw(np.random.default_rng(0)), float)
        full = np.asarray(scene.draw(np.random.default_rng(0)), float)
        return (np.abs(full - bare).max(-1) > 20).mean()

    assert ink(5) < ink(8) < ink(12)


def test_a_difficulty_that_is_not_set_is_the_default_of_the_task():
    own = TASKS["sequential-crops"].difficulty
    assert own != TASKS["visual-search"].difficulty == Difficulty()
    for scene in scenes("sequential-crops", size=(13, 13)):
        assert {thing.size for thing in scene.things} == {13}
        assert own.objects[0] <= len(scene.things) <= own.objects[1]


def test_every_task_of_a_mixture_keeps_its_own_difficulty():
    drawn = [episode for episode, _ in episodes("mixture", count=120, seed=0)]
    counts = {name: {len(e.picture.things) for e in drawn if e.task == name} for name in SCENES}
    assert all(counts.values())
    for name, found in counts.items():
        low, high = TASKS[name].difficulty.objects
        assert low <= min(found) <= max(found) <= high
