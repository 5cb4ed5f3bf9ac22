"""InternVL and Aya Vision: an image is cut into tiles of one size, followed by the whole image as a thumbnail."""

from __future__ import annotations

from jepa_vlm.adapters.adapter import Adapter
from jepa_vlm.errors import BackboneError
from jepa_vlm.typing import Processor


class TiledAdapter(Adapter):
    """The families of ``InternVLForConditionalGeneration`` and ``AyaVisionForConditionalGeneration``."""

    def limit_visual_tokens(self, processor: Processor, budget: int) -> None:
        """See ``Adapter.limit_visual_tokens``: allows fewer tiles."""
        image_processor = processor.image_processor
        most, image_processor.max_patches = image_processor.max_patches, 1
        self._tokens_by_size.clear()
        each = self.image_tokens(processor, 512, 512).length
        self._tokens_by_size.clear()
        if each > budget:
            raise BackboneError(
                f"A tile takes {each} tokens in the family {self.config.model_type!r}; visual_tokens must be at least "
                f"that, got {budget}."
            )
        image_processor.max_patches = max(1, min(most, budget // each - 1))
