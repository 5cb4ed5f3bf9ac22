"""GLM-4V: a grid of patches as in Qwen's models, another measure of an image's size, one matrix for gate and up."""

from __future__ import annotations

from typing import Any, final

from transformers.models.glm4v.image_processing_pil_glm4v import smart_resize

from jepa_vlm.adapters.grid import GridAdapter
from jepa_vlm.typing import Processor


@final
class Glm4vAdapter(GridAdapter):
    """The family of ``Glm4vForConditionalGeneration``."""

    video_processor = "Glm4vVideoProcessor"
    projections = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_up_proj", "down_proj")

    def resized(self, image_processor: Any, width: int, height: int) -> tuple[int, int]:
        """See ``GridAdapter.resized``; pixels are counted over the frames that an image is repeated for."""
        frames = image_processor.temporal_patch_size
        found: tuple[int, int] = smart_resize(
            num_frames=frames,
            height=height,
            width=width,
            temporal_factor=frames,
            factor=image_processor.patch_size * image_processor.merge_size,
            min_pixels=image_processor.size["shortest_edge"],
            max_pixels=image_processor.size["longest_edge"],
        )
        return found

    def limit_visual_tokens(self, processor: Processor, budget: int) -> None:
        """See ``Adapter.limit_visual_tokens``."""
        super().limit_visual_tokens(processor, budget * processor.image_processor.temporal_patch_size)
