"""LFM2-VL: convolutions between the attention layers. Its image processor needs torchvision."""

from __future__ import annotations

from typing import final

from jepa_vlm.adapters.adapter import Adapter
from jepa_vlm.typing import Processor


@final
class Lfm2VlAdapter(Adapter):
    """The family of ``Lfm2VlForConditionalGeneration``."""

    image_inputs = ("pixel_values", "spatial_shapes", "pixel_attention_mask")
    projections = ("q_proj", "k_proj", "v_proj", "out_proj", "in_proj", "w1", "w2", "w3")

    def limit_visual_tokens(self, processor: Processor, budget: int) -> None:
        """See ``Adapter.limit_visual_tokens``: allows fewer tiles, or none and a smaller image."""
        image_processor = processor.image_processor
        each = (
            image_processor.tile_size // image_processor.encoder_patch_size // image_processor.downsample_factor
        ) ** 2
        whole = min(image_processor.max_image_tokens, budget)
        tiles = (budget - (whole if image_processor.use_thumbnail else 0)) // each
        image_processor.max_image_tokens = whole
        image_processor.min_image_tokens = min(image_processor.min_image_tokens, whole)
        image_processor.do_image_splitting = tiles >= image_processor.min_tiles
        image_processor.max_tiles = max(image_processor.min_tiles, min(image_processor.max_tiles, tiles))
        self._tokens_by_size.clear()
