"""LLaVA: one run of features for every image, always of the same length."""

from __future__ import annotations

from typing import final

from jepa_vlm.adapters.adapter import ADAPTERS, Adapter


@ADAPTERS.register("llava")
@final
class LlavaAdapter(Adapter):
    """The family of ``LlavaForConditionalGeneration``."""
