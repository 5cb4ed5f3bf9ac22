"""Mllama (Llama 3.2 Vision): the decoder attends to images through cross-attention layers; whole forwards only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor
from transformers.models.mllama.processing_mllama import (
    convert_sparse_cross_attention_mask_to_dense,
    get_cross_attention_token_mask,
)

from jepa_vlm.adapters.adapter import Adapter, ImageInputs
from jepa_vlm.adapters.image_tokens import ImageTokens
from jepa_vlm.errors import BackboneError
from jepa_vlm.typing import HFModel, Processor, TokenIds


@final
class MllamaAdapter(Adapter):
    """The family of ``MllamaForConditionalGeneration``."""

    image_inputs = ("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask")

    @property
    def separate_because(self) -> str:
        """See ``Adapter.separate_because``."""
        return "its decoder attends to images through cross-attention layers, whose mask has no packed form"

    @property
    def feature_id(self) -> int:
        """See ``Adapter.feature_id``: features replace no token."""
        return -1

    def image_tokens(self, processor: Processor, width: int, height: int, *, together: int = 1) -> ImageTokens:
        """See ``Adapter.image_tokens``."""
        return ImageTokens(self.placeholder(processor), ())

    def _process(self, processor: Processor, image: Any, together: int) -> Any:
        return processor(text=[self.placeholder(processor)], images=[image], return_tensors="pt")

    def collate_images(self, images: Sequence[Mapping[str, Tensor]]) -> ImageInputs:
        """See ``Adapter.collate_images``: all images belong to one text."""
        return {key: torch.cat([image[key] for image in images], dim=1) for key in self.image_inputs}

    def encode_images(self, base: HFModel, images: ImageInputs) -> Tensor:
        """See ``Adapter.encode_images``: no token is replaced by a feature."""
        weight: Tensor = base.get_input_embeddings().weight
        return weight.new_zeros(0, weight.shape[1])

    def stock_images(self, base: HFModel, input_ids: TokenIds, images: ImageInputs) -> dict[str, Any]:
        """See ``Adapter.stock_images``; text before an image does not attend to it, as in the stock processor."""
        visible = self._visible(input_ids, images["aspect_ratio_mask"])
        return {**self._tower_inputs(base, images), "cross_attention_mask": visible}

    def _visible(self, input_ids: TokenIds, tiles: Tensor) -> Tensor:
        """Return the tiles of each image that each token attends to, (1, tokens, images, tiles)."""
        spans = get_cross_attention_token_mask(input_ids.tolist(), self.config.image_token_id)
        counts = tiles[0].sum(dim=1).tolist()
        length, most = len(input_ids), tiles.shape[2]
        dense = convert_sparse_cross_attention_mask_to_dense([spans], [counts], max_num_tiles=most, length=length)
        return torch.as_tensor(dense, device=input_ids.device)

    def limit_visual_tokens(self, processor: Processor, budget: int) -> None:
        """See ``Adapter.limit_visual_tokens``.

        Raises:
            BackboneError: Always: an image takes one token of the text.
        """
        raise BackboneError("In the family 'mllama' an image takes one token; visual_tokens has nothing to limit.")
