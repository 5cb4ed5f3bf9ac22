"""SAM as an expert: the head predicts prompts, which SAM's own decoder turns into masks."""

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
from jepa_vlm.contrib.covt.padded_conversation import Pads
from jepa_vlm.typing import full_precision

HUGE = "facebook/sam-vit-huge"
# The defaults of SAM's automatic mask generator, which CoVT's code uses.
AT_ONCE = 64  # points in one call
QUALITY = 0.88  # least quality that the model must predict for a mask
STABILITY = 0.95  # least share of a mask's pixels that stay when its logits are cut at 1 instead of -1
OVERLAP = 0.7  # two masks whose boxes overlap by more than this share of their union: only the better one is kept


@final
@dataclass(frozen=True)
class SamMasks(NetworkTarget):
    """The masks that SAM finds in a picture without a prompt, at the size of its inputs, ("batch masks height width").

    SAM predicts three masks at each point of a grid. Masks of low predicted quality or stability are dropped; of masks
    with similar boxes the best is kept; of these, the ``masks`` with the highest quality x stability are the target.
    Missing masks are empty. An answer has one prompt for each mask, which SAM's frozen decoder turns into logits.

    Args:
        model: A hub id or a folder.
        reader: See ``NetworkTarget``.
        side: Side of the square that the model is shown, in pixels; the inputs are enlarged to it.
        points: Number of points along a side of the grid.
        masks: Number of masks.
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
        """Return logits at the size of the inputs; like SAM, enlarge them to the model's square first."""
        enlarged = F.interpolate(logits, self.side, mode="bilinear")
        return F.interpolate(enlarged, size, mode="bilinear")


def apart(masks: Tensor, quality: Tensor) -> Tensor:
    """Return the numbers of the masks whose boxes do not overlap a better mask's box too much, the best first.

    Args:
        masks: Masks ("masks height width"), none of them empty.
        quality: Quality of each mask.
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
        pads: Number of expert tokens, and of masks.
        small: Side of the square that a picture is stretched to, in pixels; masks are compared at this size.
        side: Side of the square that the model is shown, in pixels.
        points: Number of points along a side of the grid.
        width: Width of the model's prompts.
        weight: Weight of the loss; the default is CoVT's.
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
