"""The playground's maps as experts."""

from __future__ import annotations

import pickle

import pytest
import torch

import jepa_vlm as jv
from jepa_vlm.contrib.covt import true_depth, true_edges, true_segmentation
from jepa_vlm.contrib.covt.true_maps import mean_map
from jepa_vlm.errors import DataError


@pytest.mark.parametrize(("make", "maps"), [(true_depth, 1), (true_edges, 1), (true_segmentation, 8)])
def test_a_true_map_is_pooled_to_the_shape_of_the_answers(make, maps):
    (trajectory,) = jv.playground.trajectories("visual-search", count=1)
    expert = make(pads=2)
    look = pickle.loads(pickle.dumps(expert.target.inputs))(trajectory.images[0])
    assert look.shape == (maps, 7, 7)
    whole = torch.from_numpy(trajectory.images[0].truth()[expert.name])
    block = whole[:, 32:48, 48:64]
    assert torch.equal(look[:, 2, 3], block.amax((1, 2)) if expert.name == "edges" else block.mean((1, 2)))
    expert.head.setup(16, torch.Generator().manual_seed(0))
    found = expert(torch.zeros(3, 2, 16), look.expand(3, -1, -1, -1))
    assert found.shape == (3,)
    assert (found > 0).all()


def test_answers_of_expert_tokens_are_averaged_in_reading_order():
    answer = torch.stack([torch.arange(98.0), torch.arange(98.0) + 2])[None]
    maps = mean_map(answer)
    assert maps.shape == (1, 2, 7, 7)
    assert maps[0, 0, 0].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert maps[0, 1, 2, 3] == 49 + 2 * 7 + 3 + 1


def test_an_image_without_truth_is_refused():
    (trajectory,) = jv.playground.trajectories("maze", count=1)
    with pytest.raises(DataError, match="no true depth"):
        true_depth().target.inputs(trajectory.images[0])
