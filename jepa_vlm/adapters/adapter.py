"""What a vision-language model must answer so that objectives can run on it.

An adapter knows one family. It holds the model's configuration but no weights, so that collators stay picklable;
methods that need weights take the Hugging Face model (PEFT's wrapper removed; LoRA lives inside it).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from transformers import PretrainedConfig

from jepa_vlm.registry import Registry
from jepa_vlm.typing import Hidden, TokenMask

Grid = tuple[int, int, int]  # an image's frames, rows and columns of vision patches

ADAPTERS: Registry[type[Adapter]] = Registry(
    "adapter", hint="A new family needs one file, see docs/adding_an_adapter.md."
)


class Adapter(ABC):
    """One family of vision-language models.

    Args:
        config: The model's configuration.
    """

    image_token: str
    video_processor: str = ""  # its class, where the family has one
    chunked_vision: bool = False  # whether the tower hands all its chunks (images, windows) to flash attention at once

    def __init__(self, *, config: PretrainedConfig) -> None:
        self.config = config

    # Without weights: used by the collator.

    @abstractmethod
    def grid(self, image_processor: Any, width: int, height: int) -> Grid:
        """Return the patch grid that the processor makes of an image of this size, without decoding it."""

    @abstractmethod
    def image_length(self, grid: Grid) -> int:
        """Return how many tokens the decoder reads for an image of this grid."""

    @abstractmethod
    def positions(self, image_tokens: TokenMask, grids: Sequence[Grid]) -> Tensor:
        """Return the rotary positions of one view, ("axes tokens"), starting at 0."""

    @abstractmethod
    def collate_images(self, images: Sequence[Mapping[str, Tensor]]) -> dict[str, Any]:
        """Join what the processor made of each image into the inputs of one pass of the vision tower.

        What the tower would have to read off the device (lengths of its chunks, the longest one) goes along as host
        numbers, so that a step never waits for the device.
        """

    # With weights: used by the engines.

    @abstractmethod
    def encode_images(self, base: Any, images: Mapping[str, Any]) -> Hidden:
        """Run the vision tower; return the features of all images, row after row, in the order given."""

    @abstractmethod
    def decode(self, base: Any, inputs: Hidden, positions: Tensor, attention: Mapping[str, Any]) -> Hidden:
        """Run the decoder over one packed row and return ``last_hidden_state`` (after the final norm).

        Args:
            base: The Hugging Face model.
            inputs: Input embeddings.
            positions: Rotary positions, ("axes tokens").
            attention: Keyword arguments for the packed attention function.
        """

    @abstractmethod
    def reference(
        self,
        base: Any,
        input_ids: Tensor,
        embeddings: Tensor,
        image_tokens: TokenMask,
        images: Mapping[str, Any] | None,
    ) -> Hidden:
        """Run one stock forward over one whole view, images encoded anew: the obvious way, which ``separate`` takes."""

    @abstractmethod
    def vision(self, base: Any) -> nn.Module:
        """Return the vision tower with its projector."""

    def decoder(self, base: Any) -> nn.Module:
        """Return the language model without its head."""
        found: nn.Module = base.get_decoder()
        return found

    def decoder_prefix(self, base: Any) -> str:
        """Return the decoder's own name inside the model, from which LoRA's regex is made."""
        decoder = self.decoder(base)
        name: str = next(name for name, module in base.named_modules() if module is decoder)
        return name

    def embed(self, base: Any, input_ids: Tensor) -> Tensor:
        """Return the token embeddings; image positions hold their placeholder's."""
        found: Tensor = base.get_input_embeddings()(input_ids)
        return found

    def vision_is_frozen(self, base: Any) -> bool:
        """Say whether no parameter of the vision tower trains, so that it runs without a graph."""
        return not any(p.requires_grad for p in self.vision(base).parameters())
