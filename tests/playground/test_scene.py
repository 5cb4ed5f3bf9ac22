"""A scene's maps say what its picture shows, worked out from the scene alone."""

from __future__ import annotations

import pickle

import numpy as np

import jepa_vlm as jv
from jepa_vlm.playground import episodes
from jepa_vlm.playground.canvas import CELL, SIDE
from jepa_vlm.playground.scene import Scene, Thing, scene_maps
from jepa_vlm.playground.vocabulary import SHAPES

SQUARE = Thing(color="red", shape="square", cell=(2, 3), size=8, offset=(4, 5))


def test_the_maps_of_one_square_by_hand():
    maps = scene_maps(Scene((SQUARE,)))
    left, top = CELL + 4, 2 * CELL + 5
    # Of an outermost pixel two of four sample rows lie inside 0.9: half of it is covered, and a quarter of a corner.
    inside = np.zeros((SIDE, SIDE), bool)
    inside[top : top + 8, left : left + 8] = True
    inside[top : top + 8 : 7, left : left + 8 : 7] = False
    assert np.array_equal(maps["depth"][0], np.where(inside, np.float32(8 / CELL), 0))
    assert maps["segmentation"].shape == (len(SHAPES), SIDE, SIDE)
    assert np.array_equal(maps["segmentation"][SHAPES.index("square")], inside)
    assert maps["segmentation"].sum() == inside.sum()
    edges = maps["edges"][0]
    row = edges[top + 3, left - 2 : left + 9]
    assert row.tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0]  # the last pixel outside, and the last inside
    assert edges[top - 2 : top + 9, left + 3].tolist() == row.tolist()
    assert edges[:top].sum() == 6  # above: one pixel over each of the first row, its corners left out


def test_an_empty_scene_is_flat():
    assert all(not each.any() for each in scene_maps(Scene(())).values())


def test_every_object_is_where_the_picture_shows_it():
    for episode, rng in episodes("sequential-crops", count=5):
        scene = episode.picture
        pixels = np.asarray(scene.draw(rng)).astype(float)
        ground = np.asarray(Scene(()).draw(np.random.default_rng(0))).astype(float)
        apart = np.abs(pixels - ground).max(axis=2) > 100  # more than the light, and than a pixel half covered
        shown = scene_maps(scene)["segmentation"].any(axis=0)
        assert (apart & ~shown).sum() < 0.02 * shown.sum()
        assert (shown & apart).sum() > 0.7 * shown.sum()


def test_trajectories_hold_their_scenes_and_can_be_pickled():
    (trajectory,) = jv.playground.trajectories("visual-search", count=1)
    image = pickle.loads(pickle.dumps(trajectory)).images[0]
    assert image.truth().keys() == {"depth", "edges", "segmentation"}
    assert all(step.image is None or step.image.truth is None for step in trajectory.steps)


def test_other_pictures_have_no_scene():
    for task in ("maze", "chart-reading", "jigsaw"):
        assert jv.playground.trajectories(task, count=1)[0].images[0].truth is None
