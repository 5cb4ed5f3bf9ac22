"""Qwen2.5-VL: M-RoPE over frames, rows and columns; a window-attention vision tower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from torch import Tensor
from transformers.vision_utils import get_vision_window_index

from jepa_vlm.adapters.adapter import ImageInputs
from jepa_vlm.adapters.grid import GridAdapter


@final
class Qwen25VLAdapter(GridAdapter):
    """The family of ``Qwen2_5_VLForConditionalGeneration``."""

    video_processor = "Qwen2VLVideoProcessor"

    def collate_images(self, images: Sequence[Mapping[str, Tensor]]) -> ImageInputs:
        """See ``Adapter.collate_images``; the tower's windows are laid out here too."""
        vision = self.config.vision_config
        joined = super().collate_images(images)
        window, ends = get_vision_window_index(
            joined["image_grid_thw"], vision.spatial_merge_size, vision.window_size, vision.patch_size
        )
        windows = ends.diff().tolist()
        return {
            **joined,
            "image_window_index": window,
            "image_cu_window_seqlens": ends,
            "image_max_window_seqlen": max(windows),
            "image_chunk_lengths": {**joined["image_chunk_lengths"], len(windows): windows},
        }
