"""Mistral 3 and Ministral 3, which see through Pixtral's tower."""

from __future__ import annotations

from typing import final

from jepa_vlm.adapters.adapter import ADAPTERS
from jepa_vlm.adapters.pixtral import PixtralAdapter


@ADAPTERS.register("mistral3")
@final
class Mistral3Adapter(PixtralAdapter):
    """The family of ``Mistral3ForConditionalGeneration``."""
