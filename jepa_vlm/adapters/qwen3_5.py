"""Qwen3.5: linear attention in most layers."""

from __future__ import annotations

from typing import final

from jepa_vlm.adapters.adapter import ADAPTERS, PROJECTIONS
from jepa_vlm.adapters.grid import GridAdapter


@ADAPTERS.register("qwen3_5")
@final
class Qwen35Adapter(GridAdapter):
    """The family of ``Qwen3_5ForConditionalGeneration``."""

    video_processor = "Qwen3VLVideoProcessor"
    interpolated = True
    projections = (*PROJECTIONS, "in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a", "out_proj")

    @property
    def separate_because(self) -> str:
        """See ``Adapter.separate_because``."""
        if "linear_attention" not in self.config.get_text_config().layer_types:
            return ""
        return "its linear-attention layers carry a state along the row, whatever the mask says"
