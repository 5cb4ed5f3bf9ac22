"""Experts' networks load late, by name, and never train."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

import jepa_vlm as jv
from jepa_vlm.contrib.covt import dinov2
from jepa_vlm.contrib.covt.frozen_networks import MEAN, STD, Stretched, frozen
from jepa_vlm.errors import BackboneError
from tests.contrib.covt.networks import saved_dinov2

CPU = torch.device("cpu")


def test_a_picture_becomes_normalised_pixels():
    image = jv.LazyImage(pixels=Image.new("RGB", (30, 20), (255, 0, 51)))
    seen = pickle.loads(pickle.dumps(Stretched(8)))(image)
    assert seen.shape == (3, 8, 8)
    expected = (np.array([1.0, 0.0, 0.2]) - MEAN) / STD
    np.testing.assert_allclose(seen.mean((1, 2)), expected, rtol=1e-5)


def test_a_frozen_expert_model_is_loaded_once_and_has_no_gradient(tmp_path):
    name = saved_dinov2(tmp_path)
    network = frozen("Dinov2Model", name, CPU)
    assert network is frozen("Dinov2Model", name, CPU)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_a_frozen_expert_model_is_not_loaded_before_it_is_needed(tmp_path):
    expert = dinov2(model=str(tmp_path / "nowhere"), side=28, width=8)
    expert.head.setup(4, torch.Generator().manual_seed(0))
    pickle.dumps(expert.target.inputs)
    with pytest.raises(BackboneError, match="cannot be loaded"):
        expert(torch.zeros(1, 4, 4), torch.zeros(1, 3, 28, 28))


def test_a_loading_error_without_a_message_shows_its_class(monkeypatch):
    def fails(*given, **settings):
        raise OSError

    monkeypatch.setattr("transformers.Dinov2Model.from_pretrained", fails)
    with pytest.raises(BackboneError, match="cannot be loaded: OSError"):
        frozen("Dinov2Model", "somewhere", CPU)
