"""DINOv2's features are the target, whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from jepa_vlm.contrib.covt import dinov2
from jepa_vlm.contrib.covt.frozen_networks import Framed, frozen
from tests.contrib.covt.networks import SIDE, WIDTH, saved_dinov2


def test_the_target_is_the_last_hidden_state_and_gradient_reaches_the_head_alone(tmp_path):
    expert = dinov2(model=saved_dinov2(tmp_path), side=SIDE, width=WIDTH)
    expert.head.setup(12, torch.Generator().manual_seed(0))
    inputs = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    states = torch.randn(2, 4, 12, requires_grad=True)
    network = frozen("Dinov2Model", expert.target.model, torch.device("cpu"))
    with torch.no_grad():
        expected = network(pixel_values=inputs).last_hidden_state
    assert expected.shape == (2, 1 + 16, WIDTH)
    loss = expert(states, inputs)
    torch.testing.assert_close(loss, (expert.head(states) - expected).square().mean((1, 2)))
    loss.sum().backward()
    assert states.grad.any()
    assert all(parameter.grad.any() for parameter in expert.parameters())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize(
    ("size", "picture"),
    [((60, 30), (2, 4, 10, 8)), ((16, 20), (2, 1, 10, 11)), ((32, 8), (0, 4, 12, 8))],  # wider, taller, cut
)
def test_a_picture_is_resized_and_padded_with_black_for_dinov2(size, picture):
    square = Framed(12, short=4 if size[0] > size[1] else 8).square(Image.new("RGB", size, (255, 255, 255)))
    found = np.asarray(square)[..., 0]
    left, top, right, bottom = picture
    expected = np.zeros((12, 12))
    expected[top:bottom, left:right] = 255
    np.testing.assert_array_equal(found, expected)


def test_the_large_dinov2_expert_has_the_numbers_of_covt():
    expert = dinov2()
    assert (expert.head.count, expert.head.width, expert.pads.count, expert.weight) == (1025, 1024, 4, 0.5)
