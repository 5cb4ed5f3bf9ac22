"""The half of an adapter that needs no weights: what a conversation and its images become before a model sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import PretrainedConfig

from jepa_vlm.adapters.image_tokens import ImageTokens
from jepa_vlm.errors import BackboneError, DataError
from jepa_vlm.typing import TokenIds, TokenMask


class Reading:
    """What collators ask of a family, in worker processes too.

    Args:
        config: The model's configuration.
    """

    image_inputs: tuple[str, ...] = ("pixel_values",)  # what the vision tower reads of the processor's output
    counts_images: bool = False  # whether the tower must be handed all images of a conversation, one after another
    first_position: int = 0
    template: str = ""  # for families whose processors come without one

    def __init__(self, *, config: PretrainedConfig) -> None:
        self.config = config
        self._known: dict[tuple[int, int, int], ImageTokens] = {}

    def placeholder(self, processor: Any) -> str:
        """Return what the chat template writes for an image."""
        token: str = processor.image_token
        return token

    @property
    def feature_id(self) -> int:
        """The token whose place a feature takes."""
        own = getattr(self.config, "image_token_id", None)
        return int(self.config.image_token_index if own is None else own)

    def image_tokens(self, processor: Any, width: int, height: int, *, together: int = 1) -> ImageTokens:
        """Return what the processor writes for an image of this size, without decoding it.

        Args:
            processor: The backbone's.
            width, height: Of the image, in pixels.
            together: Images in the conversation; some families spend fewer tokens on each of several.

        Raises:
            DataError: If the processor refuses the size.
        """
        key = (width, height, together)
        if key not in self._known:
            try:
                made = self._call(processor, Image.new("RGB", (width, height)), together)
            except ValueError as err:
                message = f"An image of {width} x {height} pixels cannot be read ({err}); crop it."
                raise DataError(message, "image shape") from None
            written = made["text_replacement_offsets"][0][0]["replacement"]
            feature = processor.tokenizer.convert_ids_to_tokens(self.feature_id)
            self._known[key] = ImageTokens.of(written, feature)
        return self._known[key]

    def process_image(self, processor: Any, image: Image.Image, *, together: int = 1) -> dict[str, Tensor]:
        """Return what the vision tower reads of an image; see ``image_tokens`` for ``together``."""
        made = self._call(processor, image, together)
        return {key: torch.as_tensor(made[key]) for key in self.image_inputs}

    def _call(self, processor: Any, image: Image.Image, together: int) -> Any:
        text = self.placeholder(processor)
        return processor(text=[text], images=[image], return_tensors="pt", return_text_replacement_offsets=True)

    def collate_images(self, images: Sequence[Mapping[str, Tensor]]) -> dict[str, Any]:
        """Join what the processor made of each image into the inputs of one pass of the vision tower.

        What the tower would have to read off the device (lengths of its chunks, the longest one) goes along as host
        numbers where a family can make it, so that a step need not wait for the device.
        """
        return {key: torch.cat([image[key] for image in images]) for key in self.image_inputs}

    def positions(self, image_tokens: TokenMask, images: Sequence[ImageTokens]) -> Tensor:
        """Return the rotary positions of one view, ("axes tokens"), counted from its first token."""
        return torch.arange(len(image_tokens))[None] + self.first_position

    def blocks(self, image_tokens: TokenMask, prompt: TokenMask) -> TokenIds | None:
        """Say which tokens of a view see each other both ways: those of the same number; -1 is causal, None is all.

        Args:
            image_tokens: True at features.
            prompt: True at the tokens of x, learned slots left out.
        """
        return None

    def limit_visual_tokens(self, processor: Any, budget: int) -> None:
        """Let no image take more than ``budget`` tokens; larger ones are shrunk, or cut into fewer tiles.

        Raises:
            BackboneError: If the family spends more on every image.
        """
        spent = self.image_tokens(processor, 512, 512).length
        if spent > budget:
            raise BackboneError(
                f"Every image takes {spent} tokens in the family {self.config.model_type!r}, whatever its size; "
                f"visual_tokens must be at least that, got {budget}."
            )
