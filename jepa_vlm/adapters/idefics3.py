"""Idefics3 and SmolVLM: tiles between markers of row and column, followed by the whole image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from jepa_vlm.adapters.adapter import Adapter, ImageInputs
from jepa_vlm.errors import BackboneError
from jepa_vlm.typing import Processor


class Idefics3Adapter(Adapter):
    """The families of ``Idefics3ForConditionalGeneration`` and ``SmolVLMForConditionalGeneration``."""

    image_inputs = ("pixel_values", "pixel_attention_mask")

    def collate_images(self, images: Sequence[Mapping[str, Tensor]]) -> ImageInputs:
        """See ``Adapter.collate_images``: tiles are all of one size, and the model takes any number in a row."""
        return {key: torch.cat([image[key] for image in images], dim=1) for key in self.image_inputs}

    def limit_visual_tokens(self, processor: Processor, budget: int) -> None:
        """See ``Adapter.limit_visual_tokens``: shrinks the image to fewer tiles on its longer side."""
        image_processor, each = processor.image_processor, processor.image_seq_len
        side = image_processor.max_image_size["longest_edge"]
        if each > budget:
            raise BackboneError(f"A tile takes {each} tokens in {self.config.model_type!r}; visual_tokens is {budget}.")
        tiles = max((n for n in range(2, 65) if (n * n + 1) * each <= budget), default=1)
        longest = min(image_processor.size["longest_edge"], tiles * side)
        image_processor.size = {"longest_edge": longest}
        self._tokens_by_size.clear()
