"""SAM's masks, asked at a grid of points; an answer is prompts to its own decoder."""

from __future__ import annotations

import torch

from jepa_vlm.experts import sam
from jepa_vlm.experts.frozen import frozen
from jepa_vlm.experts.sam_masks import SamMasks, _masks
from tests.experts.networks import WIDTH, saved_sam


def test_gradient_flows_through_the_frozen_decoder_into_the_pads(tmp_path):
    expert = sam(model=saved_sam(tmp_path), pads=3, side=64, width=WIDTH, heads=2)
    expert.head.setup(12, torch.Generator().manual_seed(0))
    inputs = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    states = torch.randn(2, 3, 12, requires_grad=True)
    seen = expert.target(inputs)
    assert seen.target.shape == (2, 3, 32, 32)
    assert set(seen.target.unique().tolist()) <= {0.0, 1.0}
    assert seen.decode(expert.head(states)).shape == seen.target.shape
    loss = expert(states, inputs)
    assert loss.shape == (2,)
    loss.sum().backward()
    assert states.grad.any()
    network = frozen("SamModel", expert.target.model, torch.device("cpu"))
    assert all(parameter.grad is None for parameter in network.parameters())


def test_prompts_are_decoded_as_the_stock_model_decodes_points(tmp_path):
    name = saved_sam(tmp_path)
    network = frozen("SamModel", name, torch.device("cpu"))
    inputs = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    points = torch.tensor([[[[20.0, 30.0]], [[50.0, 10.0]]]])
    with torch.no_grad():
        stock = network(pixel_values=inputs, input_points=points, multimask_output=False).pred_masks[:, :, 0]
        # What the stock model makes of a point is its prompt and one that says there is no further one.
        sparse, _ = network.prompt_encoder(
            input_points=points, input_labels=torch.ones(1, 2, 1, dtype=torch.int), input_boxes=None, input_masks=None
        )
        image, position = network.get_image_embeddings(inputs), network.get_image_wide_positional_embeddings()
        torch.testing.assert_close(_masks(network, image, position, sparse), stock)
        one = SamMasks(name, 64, 2)(inputs).decode(sparse[:, :, 0])
        torch.testing.assert_close(one, _masks(network, image, position, sparse[:, :, :1]))


def test_the_best_and_different_masks_are_kept_and_missing_ones_are_empty():
    masks = torch.zeros(4, 4, 4, dtype=torch.bool)
    masks[0, :2], masks[1, :2] = True, True
    masks[1, 2, 0] = True  # 8 of 9 pixels in common with the first: the same
    masks[2, 3] = True  # another; the last one is empty
    kept = SamMasks("", 64, 3)._kept(masks, torch.tensor([0.5, 0.9, 0.1, 1.0]))
    assert torch.equal(kept, torch.stack([masks[1], masks[2], torch.zeros(4, 4, dtype=torch.bool)]))
