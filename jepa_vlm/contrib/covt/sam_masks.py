"""SAM: masks, answered as prompts to its own mask decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor

from jepa_vlm.contrib.covt.expert import RATE, Expert, Seen
from jepa_vlm.contrib.covt.expert_heads import QueryHead
from jepa_vlm.contrib.covt.expert_losses import MaskLoss
from jepa_vlm.contrib.covt.frozen_networks import NetworkTarget, Stretched
from jepa_vlm.typing import full_precision
from jepa_vlm.views import Pads

HUGE = "facebook/sam-vit-huge"
# The defaults of SAM's automatic mask generator, which CoVT's code uses.
AT_ONCE = 64  # points
QUALITY = 0.88  # that the model must predict of a mask
STABILITY = 0.95  # share of its pixels that must stay when logits are cut at 1 in place of -1
OVERLAP = 0.7  # of two masks' boxes, as a share of their union, above which the better mask alone is kept


@final
@dataclass(frozen=True)
class SamMasks(NetworkTarget):
    """The masks that a SAM finds in a picture by itself, at the size of its inputs, ("batch masks height width").

    It is asked at a grid of points, which gives three masks for each. Kept are those of high predicted quality and
    stability, of those with like boxes the best, and of these the ``masks`` with the highest quality x stability;
    missing ones are empty. An answer is as many prompts, which its frozen mask decoder turns into logits.

    Args:
        model: A hub id or a folder.
        reader: See ``NetworkTarget``.
        side: Of the square that the model is shown, in pixels: the inputs are enlarged to it.
        points: To a side of the grid.
        masks: How many.
    """

    kind: ClassVar[str] = "SamModel"

    side: int
    points: int
    masks: int

    def seen_by(self, network: Any, pixels: Tensor) -> Seen:
        """See ``NetworkTarget``."""
        size = pixels.shape[-1]
        image = network.get_image_embeddings(F.interpolate(pixels, self.side, mode="bilinear"))
        target = torch.stack([self._found(network, each[None], size) for each in image])

        def decode(answer: Tensor) -> Tensor:
            with full_precision(answer.device):
                return self._resized(_logits(network, image, answer.float()[:, :, None]), size)

        return Seen(target, decode)

    def _found(self, network: Any, image: Tensor, size: int) -> Tensor:
        """Return the masks of one image."""
        at = (torch.arange(self.points, device=image.device) + 0.5) * self.side / self.points
        grid = torch.cartesian_prod(at, at).flip(-1)  # row by row
        found = []
        for points in grid.split(AT_ONCE):
            asked = network(image_embeddings=image, input_points=points[None, :, None], multimask_output=True)
            logits = self._resized(asked.pred_masks[0], size).flatten(0, 1)
            quality = asked.iou_scores.flatten()
            stability = (logits > 1).sum((1, 2)) / (logits > -1).sum((1, 2))
            good = (quality > QUALITY) & (stability >= STABILITY)
            found.append((logits[good] > 0, quality[good], stability[good]))
        masks, quality, stability = (torch.cat(parts) for parts in zip(*found, strict=True))
        kept = apart(masks, quality)
        kept = kept[(quality * stability)[kept].argsort(descending=True, stable=True)[: self.masks]]
        return F.pad(masks[kept].to(image.dtype), (0, 0, 0, 0, 0, self.masks - len(kept)))

    def _resized(self, logits: Tensor, size: int) -> Tensor:
        """Return logits at the size of the inputs, by way of the model's own, as SAM does."""
        enlarged = F.interpolate(logits, self.side, mode="bilinear")
        return F.interpolate(enlarged, size, mode="bilinear")


def apart(masks: Tensor, quality: Tensor) -> Tensor:
    """Return the numbers of masks whose boxes overlap no better mask's too much, the best first.

    Args:
        masks: ("masks height width"), none of them empty.
        quality: Of each.
    """
    corners = []
    for axis in (1, 2):  # the columns of a mask, then its rows
        line = masks.any(axis).int()
        corners.append((line.argmax(1), line.shape[1] - 1 - line.flip(1).argmax(1)))
    low, high = torch.stack([each[0] for each in corners], 1), torch.stack([each[1] for each in corners], 1)
    area = (high - low).prod(1)
    shared = (torch.minimum(high[:, None], high) - torch.maximum(low[:, None], low)).clamp(min=0).prod(-1)
    overlap = (shared / (area[:, None] + area - shared)).cpu()
    kept: list[int] = []
    for mask in quality.argsort(descending=True, stable=True).tolist():
        if not (overlap[mask, kept] > OVERLAP).any():
            kept.append(mask)
    return torch.tensor(kept, dtype=torch.long, device=masks.device)


def _logits(network: Any, image: Tensor, prompts: Tensor) -> Tensor:
    dense = network.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
    logits, _ = network.mask_decoder(
        image_embeddings=image,
        image_positional_embeddings=network.get_image_wide_positional_embeddings().expand(len(image), -1, -1, -1),
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
    small: int = 256,
    side: int = 1024,
    points: int = 32,
    width: int = 256,
    weight: float = 1.0,
) -> Expert:
    """Return the expert for SAM's masks, with CoVT's head and loss.

    Args:
        model: A hub id or a folder.
        pads: As many as masks.
        small, side: Of the square that a picture is stretched to, and of the one that it is then enlarged to, in
            pixels; masks are compared at the former.
        points: To a side of the grid that the model is asked at.
        width: Of the model's prompts.
        weight: Of the loss; CoVT's.
    """
    return Expert(
        name="sam",
        pads=Pads("<|sam_pad|>", pads),
        target=SamMasks(model, Stretched(small), side, points, pads),
        head=QueryHead(queries=pads, width=width, rotary=True),
        loss=MaskLoss(match=True),
        weight=weight,
        rate=RATE,
    )
