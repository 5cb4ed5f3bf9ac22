"""A family without a file of its own: transformers' interfaces, and no promise about packed rows."""

from __future__ import annotations

import inspect
from typing import Any, final

from transformers import PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from jepa_vlm.adapters.adapter import Adapter


@final
class UnlistedAdapter(Adapter):
    """Trains with the engine ``separate``, which runs the stock model as it is."""

    def __init__(self, *, config: PretrainedConfig) -> None:
        super().__init__(config=config)
        model: Any = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(config)]
        asked = inspect.signature(model.get_image_features).parameters
        given = (*self.image_inputs, "image_sizes", "image_grid_thw", "pixel_attention_mask", "spatial_shapes")
        self.image_inputs = tuple(name for name in given if name in asked)

    @classmethod
    def fits(cls, config: PretrainedConfig) -> bool:
        """Say whether a model is built of the interfaces that an adapter needs."""
        named = any(getattr(config, name, None) is not None for name in ("image_token_id", "image_token_index"))
        kind = type(config)
        known = kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
        return named and known and "get_image_features" in dir(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[kind])

    @property
    def separate_because(self) -> str:
        """See ``Adapter.separate_because``."""
        return f"nobody has checked the family {self.config.model_type!r} with packed rows"
