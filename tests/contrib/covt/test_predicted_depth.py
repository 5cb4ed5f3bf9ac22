"""Depth is answered through the features of the expert's own layers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from jepa_vlm.contrib.covt import depth_anything
from jepa_vlm.contrib.covt.frozen_networks import PredictedDepth, Stretched, frozen
from tests.contrib.covt.networks import PATCH, SIDE, SMALL, WIDTH, saved_depth_anything
from tests.contrib.covt.waves import filled, sums, wave


def test_depth_targets_are_the_models_own_at_the_size_of_the_input(tmp_path):
    expert = depth_anything(model=saved_depth_anything(tmp_path), small=SMALL, side=SIDE, patch=PATCH, width=WIDTH)
    expert.head.setup(12, torch.Generator().manual_seed(0))
    inputs = torch.randn(2, 3, SMALL, SMALL, generator=torch.Generator().manual_seed(1))
    network = frozen("DepthAnythingForDepthEstimation", expert.target.model, torch.device("cpu"))
    with torch.no_grad():
        shown = torch.nn.functional.interpolate(inputs, (SIDE, SIDE), mode="bicubic")
        depth, layers = network(pixel_values=shown).predicted_depth, network.backbone(shown).feature_maps
    seen, rows = expert.target(inputs), SIDE // PATCH
    assert seen.target.shape == (2, 1, SMALL, SMALL)
    corners = seen.target[1, 0, [0, 0, -1, -1], [0, -1, 0, -1]]  # which stay in place when a map is shrunk
    torch.testing.assert_close(corners, depth[1, [0, 0, -1, -1], [0, -1, 0, -1]])
    answer = torch.randn(2, 4, WIDTH)
    maps = [(layers[k][:, 1:] @ answer[:, k, :, None]).view(2, 1, rows, rows) for k in range(4)]
    large = [torch.nn.functional.interpolate(each, (SMALL, SMALL), mode="bilinear") for each in maps]
    torch.testing.assert_close(seen.decode(answer), torch.stack(large).mean(0))
    states = torch.randn(2, 4, 12, requires_grad=True)
    expert(states, inputs).sum().backward()
    assert all(state.any() for state in states.grad[0])


def test_depth_head_and_loss_are_those_of_covt():
    # Wakals/CoVT@80a28bf, CoVTForConditionalGeneration.forward with depth alone, DepthReconstructor included, in
    # float64, on the same tensors.
    features = [wave(1, 4, 1024, phase=layer) for layer in range(4)]
    maps = [torch.cat([torch.ones_like(each[:, :1]), each], dim=1) for each in features]  # behind a class token

    class Network:
        backbone = SimpleNamespace(forward_with_filtered_kwargs=lambda pixels: SimpleNamespace(feature_maps=maps))

        def __call__(self, pixel_values):
            return SimpleNamespace(predicted_depth=2 + wave(1, 5, 5, phase=0.9))

    target = PredictedDepth("", Stretched(5), 2 * PATCH, PATCH)
    made = depth_anything()
    made.head.setup(6, torch.Generator())
    filled(made.head.layers, phase=1.0)
    seen = target.seen_by(Network(), torch.zeros(1, 3, 5, 5, dtype=torch.float64))
    states = wave(1, 4, 6, phase=0.2).requires_grad_()
    loss = made.weight * made.loss(seen.decode(made.head(states)), seen.target).mean()
    loss.backward()
    assert loss.item() == pytest.approx(0.23825813253372372, rel=1e-9)
    expected = [
        0.006501352700918194,
        0.013616636082398818,
        0.0033937847346803955,
        2.9351898387589253,
        1.0195924803522223,
    ]
    assert sums([states, *made.head.layers.parameters()]) == pytest.approx(expected, rel=1e-9)
