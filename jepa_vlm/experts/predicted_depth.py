"""Depth-Anything: its depth, answered through its own features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor

from jepa_vlm.experts.expert import Expert, Seen
from jepa_vlm.experts.frozen import NetworkTarget, Stretched
from jepa_vlm.experts.mean_loss import MeanLoss
from jepa_vlm.experts.pad_head import PadHead
from jepa_vlm.views import Pads

LARGE = "depth-anything/Depth-Anything-V2-Large-hf"


@final
@dataclass(frozen=True)
class PredictedDepth(NetworkTarget):
    """A Depth-Anything's depth at the size of its inputs, ("batch 1 height width").

    An answer is one vector for each layer whose features the model's neck reads. Its products with the features of
    every patch in its layer are a map, which is enlarged to the target's size; the mean of the layers' maps is the
    depth that was answered (CoVT's ``DepthReconstructor``).

    Args:
        model: A hub id or a folder.
        reader: See ``NetworkTarget``.
        side: Of the square that the model is shown, in pixels: the inputs are enlarged to it.
        patch: Of the model's patches.
    """

    kind: ClassVar[str] = "DepthAnythingForDepthEstimation"

    side: int
    patch: int

    def seen_by(self, network: Any, pixels: Tensor) -> Seen:
        """See ``NetworkTarget``."""
        size, rows = pixels.shape[-2:], self.side // self.patch
        shown = F.interpolate(pixels, self.side, mode="bicubic")
        depth = network(pixel_values=shown).predicted_depth[:, None]
        maps = network.backbone.forward_with_filtered_kwargs(shown).feature_maps
        features = torch.stack([each[:, -(rows**2) :] for each in maps], dim=1)  # the class token left out

        def decode(answer: Tensor) -> Tensor:
            product = torch.einsum("blpd,bld->bp", features.to(answer.dtype), answer) / features.shape[1]
            return F.interpolate(product.view(-1, 1, rows, rows), size, mode="bilinear")

        return Seen(F.interpolate(depth, size, mode="bilinear", align_corners=True), decode)


def depth_anything(
    *,
    model: str = LARGE,
    pads: int = 4,
    small: int = 256,
    side: int = 518,
    patch: int = 14,
    width: int = 1024,
    weight: float = 0.005,
) -> Expert:
    """Return the expert for Depth-Anything's depth, with CoVT's head and loss.

    Args:
        model: A hub id or a folder.
        pads: One for each layer that the model's neck reads.
        small, side: Of the square that a picture is stretched to, and of the one that it is then enlarged to, in
            pixels; depths are compared at the former.
        patch: Of the model's patches.
        width: Of the model's features.
        weight: Of the loss; CoVT's.
    """
    return Expert(
        name="depth_anything",
        pads=Pads("<|depth_pad|>", pads),
        target=PredictedDepth(model, Stretched(small), side, patch),
        head=PadHead(out=width),
        loss=MeanLoss(power=1),
        weight=weight,
    )
