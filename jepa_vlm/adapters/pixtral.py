"""Pixtral's tower: an image keeps its shape; rows of features, a break behind each. Its processor needs torchvision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from jepa_vlm.adapters.adapter import Adapter, ImageInputs
from jepa_vlm.typing import Processor


class PixtralAdapter(Adapter):
    """Models with this tower: Pixtral 12B, and Mistral 3 with Ministral 3."""

    image_inputs = ("pixel_values", "image_sizes")

    def collate_images(self, images: Sequence[Mapping[str, Tensor]]) -> ImageInputs:
        """See ``Adapter.collate_images``: pixels are padded to the largest; the tower cuts them by the sizes."""
        pixels = [image["pixel_values"] for image in images]
        height, width = (max(p.shape[side] for p in pixels) for side in (2, 3))
        padded = [F.pad(p, (0, width - p.shape[3], 0, height - p.shape[2])) for p in pixels]
        return {"pixel_values": torch.cat(padded), "image_sizes": torch.cat([image["image_sizes"] for image in images])}

    def limit_visual_tokens(self, processor: Processor, budget: int) -> None:
        """See ``Adapter.limit_visual_tokens``: bounds the longer side."""
        side = processor.patch_size * processor.spatial_merge_size
        size = dict(processor.image_processor.size)
        size["longest_edge"] = min(size["longest_edge"], max(1, int(budget**0.5)) * side)
        processor.image_processor.size = size
        self._tokens_by_size.clear()
