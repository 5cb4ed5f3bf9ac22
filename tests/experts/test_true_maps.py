"""The playground's maps as experts."""

from __future__ import annotations

import pickle

import pytest
import torch

import jepa_vlm as jv
from jepa_vlm.errors import DataError
from jepa_vlm.experts import true_depth, true_edges, true_segmentation
from jepa_vlm.experts.true_maps import patches


@pytest.mark.parametrize(("make", "maps"), [(true_depth, 1), (true_edges, 1), (true_segmentation, 8)])
def test_a_map_is_pooled_and_answered_in_its_shape(make, maps):
    (trajectory,) = jv.playground.trajectories("visual-search", count=1)
    expert = make(pads=2)
    look = pickle.loads(pickle.dumps(expert.target.inputs))(trajectory.images[0])
    assert look.shape == (maps, 28, 28)
    whole = torch.from_numpy(trajectory.images[0].truth()[expert.name])
    block = whole[:, 40:44, 60:64]
    assert torch.equal(look[:, 10, 15], block.amax((1, 2)) if expert.name == "edges" else block.mean((1, 2)))
    expert.head.setup(16, torch.Generator().manual_seed(0))
    found = expert(torch.zeros(3, 2, 16), look.expand(3, -1, -1, -1))
    assert found.shape == (3,)
    assert (found > 0).all()


def test_patches_are_in_reading_order():
    answer = torch.arange(49 * 16.0).reshape(1, 49, 16)
    maps = patches(answer)
    assert maps.shape == (1, 1, 28, 28)
    assert maps[0, 0, 0, :8].tolist() == [0, 1, 2, 3, 16, 17, 18, 19]
    assert maps[0, 0, 4, 0] == 7 * 16


def test_an_image_without_truth_is_refused():
    (trajectory,) = jv.playground.trajectories("maze", count=1)
    with pytest.raises(DataError, match="no true depth"):
        true_depth().target.inputs(trajectory.images[0])
