"""LLaVA: one run of features for every image, always of the same length; with Pixtral's tower, rows of them."""

from __future__ import annotations

from typing import final

from transformers import PretrainedConfig

from jepa_vlm.adapters.adapter import ADAPTERS, Adapter
from jepa_vlm.adapters.pixtral import PixtralAdapter


@final
class LlavaAdapter(Adapter):
    """The family of ``LlavaForConditionalGeneration``, with a tower that sees every image at one size."""


@ADAPTERS.register("llava")
def llava(*, config: PretrainedConfig) -> Adapter:
    """Return the adapter of a ``LlavaForConditionalGeneration``; Pixtral 12B is one."""
    kind = PixtralAdapter if config.vision_config.model_type == "pixtral" else LlavaAdapter
    return kind(config=config)
