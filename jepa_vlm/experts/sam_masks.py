"""SAM: masks, answered as prompts to its own mask decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from jepa_vlm.experts.expert import Expert, Seen
from jepa_vlm.experts.frozen import NetworkTarget
from jepa_vlm.experts.mask_loss import MaskLoss
from jepa_vlm.experts.query_head import QueryHead
from jepa_vlm.typing import full_precision
from jepa_vlm.views import Pads

HUGE = "facebook/sam-vit-huge"
POINTS = 4  # to a side of the grid of points that a picture is asked at
OVERLAP = 0.7  # share of the union from which two masks are one


@final
@dataclass(frozen=True)
class SamMasks(NetworkTarget):
    """The masks that a SAM finds in a picture, at its decoder's own resolution, ("batch masks height width").

    It is asked at a grid of points; for each it gives three masks, of which it thinks the most of one. The ``masks``
    that it thinks most of and that are not one are kept; missing ones are empty. An answer is as many prompts, which
    its frozen mask decoder turns into logits.

    Args:
        model: A hub id or a folder.
        side: Of the square that it is shown, in pixels.
        masks: How many.
    """

    kind: ClassVar[str] = "SamModel"

    masks: int

    def seen_by(self, network: Any, pixels: Tensor) -> Seen:
        """See ``NetworkTarget``."""
        image = network.get_image_embeddings(pixels)
        at = (torch.arange(POINTS, device=pixels.device) + 0.5) * self.side / POINTS
        grid = torch.cartesian_prod(at, at)[None, :, None].expand(len(pixels), -1, -1, -1)
        asked = network(image_embeddings=image, input_points=grid, multimask_output=True)
        found = asked.pred_masks.flatten(1, 2) > 0
        scores = asked.iou_scores.flatten(1, 2)
        target = torch.stack([self._kept(m, s) for m, s in zip(found, scores, strict=True)]).to(pixels.dtype)
        position = network.get_image_wide_positional_embeddings().expand(len(pixels), -1, -1, -1)

        def decode(answer: Tensor) -> Tensor:
            with full_precision(answer.device):
                return _masks(network, image, position, answer.float()[:, :, None])

        return Seen(target, decode)

    def _kept(self, masks: Tensor, scores: Tensor) -> Tensor:
        kept: list[Tensor] = []
        for mask in masks[scores.argsort(descending=True)]:
            apart = all((mask & old).sum() <= OVERLAP * (mask | old).sum() for old in kept)
            if bool(mask.any()) and apart:
                kept.append(mask)
            if len(kept) == self.masks:
                break
        return torch.stack([*kept, *[torch.zeros_like(masks[0])] * (self.masks - len(kept))])


def _masks(network: Any, image: Tensor, position: Tensor, prompts: Tensor) -> Tensor:
    dense = network.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
    logits, _ = network.mask_decoder(
        image_embeddings=image,
        image_positional_embeddings=position,
        sparse_prompt_embeddings=prompts,
        dense_prompt_embeddings=dense.expand(len(image), -1, *image.shape[-2:]),
        multimask_output=False,
    )[:2]
    found: Tensor = logits[:, :, 0]
    return found


def sam(
    *,
    model: str = HUGE,
    pads: int = 8,
    words: str = "",
    side: int = 1024,
    width: int = 256,
    heads: int = 8,
    weight: float = 1.0,
) -> Expert:
    """Return the expert for SAM's masks, with CoVT's head and loss.

    Args:
        model: A hub id or a folder.
        pads: As many as masks.
        words: Written before them.
        side: Of the square that the model is shown, in pixels.
        width: Of the model's prompts.
        heads: Of the head's attention.
        weight: Of the loss; CoVT's.
    """
    return Expert(
        name="sam",
        pads=Pads("<|sam_pad|>", pads, words),
        target=SamMasks(model, side, pads),
        head=QueryHead(queries=pads, width=width, heads=heads),
        loss=MaskLoss(match=True),
        weight=weight,
    )
