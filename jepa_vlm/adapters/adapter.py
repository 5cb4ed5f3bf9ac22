"""What a vision-language model must answer so that objectives can run on it, answered by transformers' own interfaces.

An adapter knows one family. It holds the model's configuration but no weights, so that collators stay picklable;
methods that need weights take the Hugging Face model (PEFT's wrapper removed; LoRA lives inside it). This class fits
most families as it is; a family that differs overrides what differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import PretrainedConfig

from jepa_vlm.adapters.feeding import fed, flat
from jepa_vlm.adapters.image_tokens import ImageTokens
from jepa_vlm.adapters.inside_peft import unwrapped
from jepa_vlm.errors import BackboneError, DataError
from jepa_vlm.registry import Registry
from jepa_vlm.typing import Hidden, TokenIds, TokenMask

ADAPTERS: Registry[type[Adapter]] = Registry(
    "adapter", hint="A new family needs one file, see docs/adding_an_adapter.md."
)
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

TOWERS = ("visual", "vision_tower", "vision_model")
PROJECTORS = frozenset(
    ("multi_modal_projector", "connector", "merger", "deepstack_merger_list", "downsample", "image_newline")
)
Part = Literal["language", "projector", "vision"]


class Adapter:
    """One family of vision-language models.

    Args:
        config: The model's configuration.
    """

    video_processor: str = ""  # its class, where the family has one
    chunked_vision: bool = False  # whether the tower hands all its chunks (images, windows) to flash attention at once
    image_inputs: tuple[str, ...] = ("pixel_values",)  # what the vision tower reads of the processor's output
    counts_images: bool = False  # whether the tower must be handed all images of a conversation, one after another
    projections: tuple[str, ...] = PROJECTIONS  # the decoder's linear layers, by the last part of their names
    first_position: int = 0
    template: str = ""  # for families whose processors come without one

    def __init__(self, *, config: PretrainedConfig) -> None:
        self.config = config
        self._known: dict[tuple[int, int, int], ImageTokens] = {}

    @property
    def separate_because(self) -> str:
        """Why views cannot share a packed row, so that they need the engine ``separate``; "" if they can."""
        return ""

    # Without weights: used by the collator.

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
                raise DataError(f"An image of {width} x {height} pixels cannot be read ({err}); crop it.") from None
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

    # With weights: used by the engines.

    def encode_images(self, base: Any, images: Mapping[str, Any]) -> Tensor:
        """Run the vision tower; return the features of all images, row after row, in the order given.

        The first columns, as many as the decoder is wide, are what it is fed; further ones are for ``decode``.
        """
        out = base.base_model.get_image_features(**self._inputs(base, images), return_dict=True)
        return flat(out.pooler_output)

    def decode(
        self,
        base: Any,
        inputs: Hidden,
        positions: Tensor,
        attention: Mapping[str, Any],
        image_at: Tensor,
        deeper: Tensor,
    ) -> Hidden:
        """Run the decoder over one row and return ``last_hidden_state`` (after the final norm).

        Args:
            base: The Hugging Face model.
            inputs: Input embeddings, features in place.
            positions: Rotary positions, ("axes tokens").
            attention: Keyword arguments for the packed attention function, and the cache, if the row goes on where
                another one ended; without a layout the row is causal, as stock attention has it.
            image_at: Where the features are.
            deeper: Their further columns, see ``encode_images``.
        """
        out = self.decoder(base)(
            inputs_embeds=inputs[None],
            position_ids=positions if len(positions) == 1 else positions[:, None],
            # transformers takes a four-dimensional mask as it is; packed attention does not look at it.
            attention_mask=inputs.new_zeros(1, 1, 1, 1) if "packed_layout" in attention else None,
            use_cache="past_key_values" in attention,
            **self.decoder_inputs(inputs, image_at, deeper),
            **attention,
        )
        states: Tensor = out.last_hidden_state[0]
        return states

    def decoder_inputs(self, inputs: Hidden, image_at: Tensor, deeper: Tensor) -> dict[str, Any]:
        """Return what else the decoder reads; see ``decode``."""
        return {}

    def reference(
        self,
        base: Any,
        input_ids: TokenIds,
        embeddings: Hidden,
        image_tokens: TokenMask,
        images: Mapping[str, Any] | None,
        blocks: TokenIds | None = None,
    ) -> Hidden:
        """Run one stock forward over one whole view, images encoded anew: the obvious way, which ``separate`` takes.

        Identifiers place the images; the embeddings are what is fed at all other places.
        """
        kinds = self.token_types(image_tokens, blocks, images is not None)
        with fed(base, embeddings):
            out = base.base_model(
                input_ids=input_ids[None],
                use_cache=False,
                **{name: value[None] for name, value in kinds.items()},
                **({} if images is None else self._inputs(base, images)),
            )
        states: Tensor = out.last_hidden_state[0]
        return states

    def token_types(self, image_tokens: TokenMask, blocks: TokenIds | None, shown: bool) -> dict[str, Tensor]:
        """Return what the stock model is told of each token besides its identifier."""
        return {}

    def _inputs(self, base: Any, images: Mapping[str, Any]) -> dict[str, Any]:
        kind = base.dtype
        own = {key: images[key] for key in self.image_inputs}
        return {k: v.to(kind) if torch.is_tensor(v) and v.is_floating_point() else v for k, v in own.items()}

    def decoder(self, base: Any) -> nn.Module:
        """Return the language model without its head."""
        found: nn.Module = base.get_decoder()
        return found

    def decoder_prefix(self, base: Any) -> str:
        """Return the decoder's own name inside the model, from which LoRA's regex is made."""
        decoder = self.decoder(base)
        name: str = next(name for name, module in base.named_modules() if module is decoder)
        return name

    def vision(self, base: Any) -> nn.Module:
        """Return the vision tower."""
        children = dict(base.base_model.named_children())
        tower: nn.Module = next(children[name] for name in TOWERS if name in children)
        return tower

    def vision_parameters(self, base: Any) -> list[nn.Parameter]:
        """Return the parameters that make an image's features: the tower's, the projector's, and loose ones."""
        text = {id(p) for p in self.decoder(base).parameters()}
        return [p for p in base.base_model.parameters() if id(p) not in text]

    def embed(self, base: Any, input_ids: TokenIds) -> Hidden:
        """Return the token embeddings; image positions hold a placeholder's."""
        table = base.get_input_embeddings()
        beyond = (input_ids == self.feature_id) & (input_ids >= unwrapped(table).num_embeddings)
        found: Tensor = table(input_ids.masked_fill(beyond, 0))
        return found

    def part(self, name: str, prefix: str) -> Part:
        """Return which part of the model a parameter belongs to.

        Args:
            name: The parameter's, in the model without PEFT's wrapper.
            prefix: See ``decoder_prefix``.
        """
        if name.startswith(f"{prefix}.") or not name.startswith("model."):
            return "language"  # the head too
        return "vision" if PROJECTORS.isdisjoint(name.split(".")) else "projector"

    def vision_is_frozen(self, base: Any) -> bool:
        """Say whether no parameter of the vision tower trains, so that it runs without a graph."""
        return not any(p.requires_grad for p in self.vision_parameters(base))

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
