"""Qwen2-VL: as Qwen2.5-VL, with a vision tower that attends to whole images."""

from __future__ import annotations

from typing import final

from jepa_vlm.adapters.adapter import ADAPTERS
from jepa_vlm.adapters.grid import GridAdapter


@ADAPTERS.register("qwen2_vl")
@final
class Qwen2VLAdapter(GridAdapter):
    """The family of ``Qwen2VLForConditionalGeneration``."""

    video_processor = "Qwen2VLVideoProcessor"
