"""Depth is answered through the features of the expert's own layers."""

from __future__ import annotations

import torch

from jepa_vlm.experts import depth_anything
from jepa_vlm.experts.frozen import frozen
from tests.experts.networks import PATCH, SIDE, WIDTH, saved_depth_anything


def test_layers_are_dotted_with_their_pads_and_averaged(tmp_path):
    expert = depth_anything(model=saved_depth_anything(tmp_path), side=SIDE, patch=PATCH, width=WIDTH)
    expert.head.setup(12, torch.Generator().manual_seed(0))
    inputs = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    network = frozen("DepthAnythingForDepthEstimation", expert.target.model, torch.device("cpu"))
    with torch.no_grad():
        depth = network(pixel_values=inputs).predicted_depth
        layers = network.backbone(inputs).feature_maps
    seen = expert.target(inputs)
    rows = SIDE // PATCH
    assert seen.target.shape == (2, 1, rows, rows)
    block = depth[1, :PATCH, PATCH : 2 * PATCH]
    torch.testing.assert_close(seen.target[1, 0, 0, 1], block.mean())
    answer = torch.randn(2, 4, WIDTH, requires_grad=True)
    decoded = seen.decode(answer)
    patch = 1 + 2 * rows + 3  # behind the class token: row 2, column 3
    expected = sum((layers[k][0, patch] * answer[0, k]).sum() for k in range(4)) / 4 / WIDTH**0.5
    torch.testing.assert_close(decoded[0, 0, 2, 3], expected)
    states = torch.randn(2, 4, 12, requires_grad=True)
    expert(states, inputs).sum().backward()
    assert all(state.any() for state in states.grad[0])
    assert depth_anything().weight == 0.005
