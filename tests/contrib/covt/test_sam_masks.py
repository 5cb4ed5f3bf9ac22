"""SAM's masks, found as its automatic generator finds them; an answer is prompts to its own decoder."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from jepa_vlm.contrib.covt import sam
from jepa_vlm.contrib.covt.frozen_networks import Stretched, frozen
from jepa_vlm.contrib.covt.sam_masks import SamMasks, apart
from tests.contrib.covt.networks import WIDTH, saved_sam


def made(folder, **more):
    return sam(model=saved_sam(folder), pads=3, small=32, side=64, width=WIDTH, points=2, **more)


def test_gradient_flows_through_the_frozen_sam_decoder_into_the_expert_tokens(tmp_path):
    expert = made(tmp_path)
    expert.head.setup(12, torch.Generator().manual_seed(0))
    inputs = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    states = torch.randn(2, 3, 12, requires_grad=True)
    seen = expert.target(inputs)
    assert seen.target.shape == (2, 3, 32, 32)
    assert set(seen.target.unique().tolist()) <= {0.0, 1.0}
    assert seen.decode(expert.head(states)).shape == seen.target.shape
    loss = expert.loss(seen.decode(expert.head(states)), (inputs > 0).float())
    assert loss.shape == (2,)
    loss.sum().backward()
    assert states.grad.any()
    network = frozen("SamModel", expert.target.model, torch.device("cpu"))
    assert all(parameter.grad is None for parameter in network.parameters())


def test_prompts_are_decoded_as_the_stock_model_decodes_points(tmp_path):
    expert = made(tmp_path)
    network = frozen("SamModel", expert.target.model, torch.device("cpu"))
    inputs = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    points = torch.tensor([[[[20.0, 30.0]], [[50.0, 10.0]]]])
    with torch.no_grad():
        prompted = {"input_points": points, "input_labels": torch.ones(1, 2, 1, dtype=torch.int)}
        stock = network(pixel_values=inputs, **prompted, multimask_output=False).pred_masks[:, :, 0]
        sparse, _ = network.prompt_encoder(**prompted, input_boxes=None, input_masks=None)
        # What the stock model makes of a point is its prompt and one that says there is no further one: an answer has
        # the former alone.
        image = network.get_image_embeddings(inputs)
        masks = [network.mask_decoder(
            image_embeddings=image, image_positional_embeddings=network.get_image_wide_positional_embeddings(),
            sparse_prompt_embeddings=sparse[:, :, :many], multimask_output=False,
            dense_prompt_embeddings=network.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand_as(image),
        )[0][:, :, 0] for many in (1, 2)]  # fmt: skip
        torch.testing.assert_close(masks[1], stock)
        found = SamMasks(expert.target.model, Stretched(64), 64, 2, 3)(inputs).decode(sparse[:, :, 0])
    large = torch.nn.functional.interpolate(masks[0], (64, 64), mode="bilinear")
    torch.testing.assert_close(found, large)


def blobs(points):
    """Return logits of three discs for each point, and their quality: like points have like discs."""
    side = 64
    y, x = torch.meshgrid(*[torch.arange(side) * 8.0 + 4] * 2, indexing="ij")
    logits, quality = [], []
    for across, down in points.tolist():
        middle = round(across / 130) * 130 + 20, round(down / 90) * 90 + 10
        distance = ((x - middle[0]) ** 2 + (y - middle[1]) ** 2 * (1 + across / 900)).sqrt()
        slopes = ((30.0, 3.0), (70 + across / 20, 3.0), (160.0, 0.1))
        logits.append(torch.stack([(radius - distance) * slope for radius, slope in slopes]))
        waves = torch.tensor([across + down, across * down / 77, across + torch.pi / 2]).sin()
        quality.append(torch.tensor([0.9, 0.95, 0.89]) + torch.tensor([0.05, 0.04, 0.03]) * waves)
    return torch.stack(logits), torch.stack(quality)


def test_kept_sam_masks_are_those_of_covts_code():
    # Wakals/CoVT@80a28bf, AnchorModels.get_sam_mask_improved, with SAM's own generator at 6 points to a side: of the
    # discs above it leaves 44 masks and takes the eight best, of which these are the areas.
    def network(image_embeddings, input_points, multimask_output):
        logits, quality = blobs(input_points[0, :, 0])
        return SimpleNamespace(pred_masks=logits[None], iou_scores=quality[None])

    found = SamMasks("", Stretched(256), 512, 6, 8)._found(network, torch.zeros(1, 1), 256)
    assert found.sum((1, 2)).tolist() == [2688, 2523, 3937, 2688, 4580, 5228, 1618, 2872]


def test_the_best_of_overlapping_sam_boxes_is_kept():
    masks = torch.zeros(4, 8, 8, dtype=torch.bool)
    masks[0, :6, :6], masks[1, 0, :6] = True, True
    masks[2, :6, :5], masks[3, 5, 5] = True, True  # the box of 2 has 20 of the 25 pixels of 0's
    assert apart(masks, torch.tensor([0.5, 0.9, 0.6, 0.1])).tolist() == [1, 2, 3]
