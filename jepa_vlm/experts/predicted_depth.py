"""Depth-Anything: its depth, answered through its own features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor

from jepa_vlm.experts.expert import Expert, Seen
from jepa_vlm.experts.frozen import NetworkTarget
from jepa_vlm.experts.mean_loss import MeanLoss
from jepa_vlm.experts.pad_head import PadHead
from jepa_vlm.views import Pads

LARGE = "depth-anything/Depth-Anything-V2-Large-hf"


@final
@dataclass(frozen=True)
class PredictedDepth(NetworkTarget):
    """A Depth-Anything's depth at its own patches, ("batch 1 rows columns").

    An answer is one vector for each layer whose features the model's neck reads. Each is multiplied with the features
    of every patch in its layer, over the root of their width; the mean over the layers is the depth that was answered.

    Args:
        model: A hub id or a folder.
        side: Of the square that it is shown, in pixels.
        patch: Of the model's patches.
    """

    kind: ClassVar[str] = "DepthAnythingForDepthEstimation"

    patch: int

    def seen_by(self, network: Any, pixels: Tensor) -> Seen:
        """See ``NetworkTarget``."""
        rows = self.side // self.patch
        depth = network(pixel_values=pixels).predicted_depth
        maps = network.backbone.forward_with_filtered_kwargs(pixels).feature_maps
        features = torch.stack([each[:, -(rows**2) :] for each in maps], dim=1)  # the class token left out
        target = F.adaptive_avg_pool2d(depth[:, None], (rows, rows))

        def decode(answer: Tensor) -> Tensor:
            found = torch.einsum("blpd,bld->bp", features.to(answer.dtype), answer)
            depth_map: Tensor = found / (features.shape[1] * features.shape[-1] ** 0.5)
            return depth_map.view(-1, 1, rows, rows)

        return Seen(target, decode)


def depth_anything(
    *,
    model: str = LARGE,
    pads: int = 4,
    words: str = "",
    side: int = 448,
    patch: int = 14,
    width: int = 1024,
    weight: float = 0.005,
) -> Expert:
    """Return the expert for Depth-Anything's depth, with CoVT's head and loss.

    Args:
        model: A hub id or a folder.
        pads: One for each layer that the model's neck reads.
        words: Written before them.
        side, patch: Of the square that is shown, and of the model's patches, in pixels.
        width: Of the model's features.
        weight: Of the loss; CoVT's.
    """
    return Expert(
        name="depth_anything",
        pads=Pads("<|depth_pad|>", pads, words),
        target=PredictedDepth(model, side, patch),
        head=PadHead(out=width),
        loss=MeanLoss(power=1),
        weight=weight,
    )
