"""Mllama (Llama 3.2 Vision): images are looked at through cross-attention layers; whole forwards only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor
from transformers.models.mllama.processing_mllama import (
    convert_sparse_cross_attention_mask_to_dense,
    get_cross_attention_token_mask,
)

from jepa_vlm.adapters.adapter import ADAPTERS, Adapter
from jepa_vlm.adapters.image_tokens import ImageTokens
from jepa_vlm.errors import BackboneError
from jepa_vlm.typing import TokenIds


@ADAPTERS.register("mllama")
@final
class MllamaAdapter(Adapter):
    """The family of ``MllamaForConditionalGeneration``."""

    image_inputs = ("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask")

    @property
    def separate_because(self) -> str:
        """See ``Adapter.separate_because``."""
        return "its decoder looks at images through cross-attention layers, whose mask has no packed form"

    @property
    def feature_id(self) -> int:
        """No token's place is taken by a feature."""
        return -1

    def image_tokens(self, processor: Any, width: int, height: int, *, together: int = 1) -> ImageTokens:
        """See ``Adapter.image_tokens``."""
        return ImageTokens(self.placeholder(processor), ())

    def _call(self, processor: Any, image: Any, together: int) -> Any:
        return processor(text=[self.placeholder(processor)], images=[image], return_tensors="pt")

    def collate_images(self, images: Sequence[Mapping[str, Tensor]]) -> dict[str, Any]:
        """See ``Adapter.collate_images``: all images belong to one text."""
        return {key: torch.cat([image[key] for image in images], dim=1) for key in self.image_inputs}

    def encode_images(self, base: Any, images: Mapping[str, Any]) -> Tensor:
        """See ``Adapter.encode_images``: nothing is fed in a token's place."""
        weight: Tensor = base.get_input_embeddings().weight
        return weight.new_zeros(0, weight.shape[1])

    def shown(self, base: Any, input_ids: TokenIds, images: Mapping[str, Any]) -> dict[str, Any]:
        """See ``Adapter.shown``; text before an image does not see it, as in the stock processor."""
        sees = self._sees(input_ids, images["aspect_ratio_mask"])
        return {**self._inputs(base, images), "cross_attention_mask": sees}

    def _sees(self, input_ids: TokenIds, tiles: Tensor) -> Tensor:
        """Return which image's tiles each token sees, (1, tokens, images, tiles)."""
        spans = get_cross_attention_token_mask(input_ids.tolist(), self.config.image_token_id)
        counts = tiles[0].sum(dim=1).tolist()
        length, most = len(input_ids), tiles.shape[2]
        dense = convert_sparse_cross_attention_mask_to_dense([spans], [counts], max_num_tiles=most, length=length)
        return torch.as_tensor(dense, device=input_ids.device)

    def limit_visual_tokens(self, processor: Any, budget: int) -> None:
        """See ``Adapter.limit_visual_tokens``.

        Raises:
            BackboneError: Always: an image takes one token of the text.
        """
        raise BackboneError("In the family 'mllama' an image takes one token; visual_tokens has nothing to limit.")
