"""LLaVA-NeXT and LLaVA-OneVision: an image is read whole and in tiles, whose number follows its size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from jepa_vlm.adapters.adapter import Adapter, ImageInputs
from jepa_vlm.errors import BackboneError
from jepa_vlm.typing import Processor


class LlavaNextAdapter(Adapter):
    """The family of ``LlavaNextForConditionalGeneration``."""

    image_inputs: tuple[str, ...] = ("pixel_values", "image_sizes")

    def collate_images(self, images: Sequence[Mapping[str, Tensor]]) -> ImageInputs:
        """See ``Adapter.collate_images``: all images get as many tiles; the model cuts the padding off by the sizes."""
        most = max(image["pixel_values"].shape[1] for image in images)
        padded = [
            F.pad(image["pixel_values"], (0, 0, 0, 0, 0, 0, 0, most - image["pixel_values"].shape[1]))
            for image in images
        ]
        return {"pixel_values": torch.cat(padded), "image_sizes": torch.cat([image["image_sizes"] for image in images])}

    def limit_visual_tokens(self, processor: Processor, budget: int) -> None:
        """See ``Adapter.limit_visual_tokens``: leaves out the grids of tiles that take too many."""
        every = [list(size) for size in self.config.image_grid_pinpoints]
        kept: list[list[int]] = []
        for height, width in every:
            self._tokens_by_size.clear()
            processor.image_processor.image_grid_pinpoints = [[height, width]]
            if self.image_tokens(processor, width, height).length <= budget:
                kept.append([height, width])
        self._tokens_by_size.clear()
        if not kept:
            raise BackboneError(f"No grid of tiles of {self.config.model_type!r} takes {budget} tokens or fewer.")
        processor.image_processor.image_grid_pinpoints = kept
        self.config.image_grid_pinpoints = kept  # the model counts tiles by its own list


@final
class LlavaOnevisionAdapter(LlavaNextAdapter):
    """The family of ``LlavaOnevisionForConditionalGeneration``: of several images in a conversation, each is one tile.

    A view that shows one of several images shows it as the conversation does, so that features are shared.
    """

    video_processor = "LlavaOnevisionVideoProcessor"
    image_inputs = ("pixel_values", "image_sizes", "batch_num_images")
    counts_images = True

    def _process(self, processor: Processor, image: Image.Image, together: int) -> Any:
        several = min(together, 2)  # one or more: that is all that matters
        made = processor(
            text=[self.placeholder(processor) * several],
            images=[[image] * several],
            return_tensors="pt",
            return_text_replacement_offsets=True,
        )
        first = {key: made[key][:1] for key in ("pixel_values", "image_sizes")}
        return {**made, **first, "batch_num_images": torch.tensor([together])}

    def collate_images(self, images: Sequence[Mapping[str, Tensor]]) -> ImageInputs:
        """See ``Adapter.collate_images``. The model counts images by conversation, of which this may be a part."""
        counts: list[int] = []
        while sum(counts) < len(images):
            counts.append(int(images[sum(counts)]["batch_num_images"]))
        return {**super().collate_images(images), "batch_num_images": torch.tensor(counts)}
