"""Gemma 3: an image's tokens see each other both ways; most layers see a window."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from jepa_vlm.adapters.adapter import Adapter
from jepa_vlm.typing import TokenIds, TokenMask


@final
class Gemma3Adapter(Adapter):
    """The family of ``Gemma3ForConditionalGeneration``."""

    def bidirectional_groups(self, image_tokens: TokenMask, prompt: TokenMask) -> TokenIds | None:
        """See ``Adapter.bidirectional_groups``: each run of features is a group, as in transformers."""
        starts = image_tokens & ~torch.cat([image_tokens.new_zeros(1), image_tokens[:-1]])
        return torch.where(image_tokens, starts.cumsum(0) - 1, -1)

    def token_types(self, image_tokens: TokenMask, groups: TokenIds | None, has_images: bool) -> dict[str, Tensor]:
        """See ``Adapter.token_types``."""
        return {"token_type_ids": image_tokens.int()}
