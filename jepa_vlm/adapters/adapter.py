"""The interface between the library and one family of vision-language models.

``Adapter`` answers every question by transformers' own interfaces, which fits most families; a family that differs
overrides what differs. An adapter holds the model's configuration and no weights, so that collators can carry it to
worker processes. Methods that need weights take the Hugging Face model, without PEFT's wrapper; LoRA lies inside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import PretrainedConfig

from jepa_vlm.adapters.image_tokens import ImageTokens
from jepa_vlm.adapters.inside_peft import unwrapped
from jepa_vlm.errors import BackboneError, DataError
from jepa_vlm.registry import Registry
from jepa_vlm.typing import HFModel, Hidden, Processor, TokenIds, TokenMask

ADAPTERS: Registry[Callable[..., Adapter]] = Registry(  # by ``model_type``; each takes ``config``
    "adapter", hint="A new family needs one file, see docs/adding_an_adapter.md."
)
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
# Layers that pass a state from token to token whatever the attention mask says, by their name in ``layer_types``.
SEQUENTIAL_LAYERS = {
    "linear_attention": "its linear-attention layers carry a state along the packed sequence, whatever the mask says",
    "conv": "its convolution layers read tokens of other views in a packed sequence, whatever the mask says",
}
TOWERS = ("visual", "vision_tower", "vision_model")
PROJECTORS = frozenset(
    ("multi_modal_projector", "connector", "merger", "deepstack_merger_list", "downsample", "image_newline")
)
Part = Literal["language", "projector", "vision"]
# What one pass of the vision tower reads: tensors, and numbers that it would otherwise have to read off the device.
ImageInputs = Mapping[str, Any]


class Adapter:
    """One family of vision-language models.

    Args:
        config: The model's configuration.
    """

    image_inputs: tuple[str, ...] = ("pixel_values",)  # what the vision tower reads of the processor's output
    counts_images: bool = False  # whether the tower must be given all images of a conversation, one after another
    first_position: int = 0
    template: str = ""  # chat template, for families whose processors have none
    video_processor: str = ""  # name of its class, where the family has one
    chunked_vision: bool = False  # whether the tower gives all its chunks (images, windows) to flash attention at once
    mixes_types: bool = True  # whether the model runs, under autocast, with a decoder and a tower of different types
    projections: tuple[str, ...] = PROJECTIONS  # the decoder's linear layers, by the last part of their names

    def __init__(self, *, config: PretrainedConfig) -> None:
        self.config = config
        self._tokens_by_size: dict[tuple[int, int, int], ImageTokens] = {}

    @property
    def separate_because(self) -> str:
        """Reason why views cannot share a packed sequence and need the engine ``separate``; "" if they can."""
        layers = getattr(self.config.get_text_config(), "layer_types", None) or ()
        return next((reason for kind, reason in SEQUENTIAL_LAYERS.items() if kind in layers), "")

    # Text and images, without weights: called in worker processes too.

    def placeholder(self, processor: Processor) -> str:
        """Return what the chat template writes for an image."""
        token: str = processor.image_token
        return token

    @property
    def feature_id(self) -> int:
        """Identifier of the token whose embedding a feature replaces; negative if features replace none."""
        own = getattr(self.config, "image_token_id", None)
        return int(self.config.image_token_index if own is None else own)

    def image_tokens(self, processor: Processor, width: int, height: int, *, together: int = 1) -> ImageTokens:
        """Return what the processor writes for an image of this size, without decoding it.

        Args:
            processor: Processor of the backbone.
            width, height: Size of the image in pixels.
            together: Number of images in the conversation; some families spend fewer tokens on each of several.

        Raises:
            DataError: If the processor refuses the size.
        """
        key = (width, height, together)
        if key not in self._tokens_by_size:
            try:
                made = self._process(processor, Image.new("RGB", (width, height)), together)
            except ValueError as err:
                message = f"An image of {width} x {height} pixels cannot be read ({err}); crop it."
                raise DataError(message, "image shape") from None
            written = made["text_replacement_offsets"][0][0]["replacement"]
            feature = processor.tokenizer.convert_ids_to_tokens(self.feature_id)
            self._tokens_by_size[key] = ImageTokens.of(written, feature)
        return self._tokens_by_size[key]

    def process_image(self, processor: Processor, image: Image.Image, *, together: int = 1) -> dict[str, Tensor]:
        """Return what the vision tower reads of an image; see ``image_tokens`` for ``together``."""
        made = self._process(processor, image, together)
        return {key: torch.as_tensor(made[key]) for key in self.image_inputs}

    def _process(self, processor: Processor, image: Image.Image, together: int) -> Any:
        text = self.placeholder(processor)
        return processor(text=[text], images=[image], return_tensors="pt", return_text_replacement_offsets=True)

    def collate_images(self, images: Sequence[Mapping[str, Tensor]]) -> ImageInputs:
        """Join what the processor made of each image into the inputs of one pass of the vision tower.

        What the tower would have to read off the device (lengths of its chunks, the longest one) is added as host
        numbers where a family can make it, so that a step need not wait for the device.
        """
        return {key: torch.cat([image[key] for image in images]) for key in self.image_inputs}

    def positions(self, image_tokens: TokenMask, images: Sequence[ImageTokens]) -> Tensor:
        """Return the rotary positions of one view, ("axes tokens"), counted from its first token."""
        return torch.arange(len(image_tokens))[None] + self.first_position

    def bidirectional_groups(self, image_tokens: TokenMask, prompt: TokenMask) -> TokenIds | None:
        """Return the bidirectional group of each token of a view, or None if all tokens are causal.

        Tokens of the same number see each other both ways; -1 stands for a causal token.

        Args:
            image_tokens: True at features.
            prompt: True at the tokens of x, soft tokens left out.
        """
        return None

    def limit_visual_tokens(self, processor: Processor, budget: int) -> None:
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

    # The forward passes.

    def encode_images(self, base: HFModel, images: ImageInputs) -> Tensor:
        """Run the vision tower and return the features of all images, row after row, in the order given.

        The first columns, as many as the decoder is wide, are its input embeddings; further ones are for ``decode``.
        """
        out = base.base_model.get_image_features(**self._tower_inputs(base, images), return_dict=True)
        return joined_features(out.pooler_output)

    def decode(
        self,
        base: HFModel,
        inputs: Hidden,
        positions: Tensor,
        attention: Mapping[str, Any],
        image_at: Tensor,
        deeper: Tensor,
    ) -> Hidden:
        """Run the decoder over one packed sequence and return ``last_hidden_state`` (after the final norm).

        Args:
            base: The Hugging Face model.
            inputs: Input embeddings, features in place.
            positions: Rotary positions, ("axes tokens").
            attention: Keyword arguments for the packed attention function, and the cache, if the sequence continues
                another one; without a layout the sequence is causal, as in stock attention.
            image_at: Indices of the features.
            deeper: Further columns of the features, see ``encode_images``.
        """
        out = self.decoder(base)(
            inputs_embeds=inputs[None],
            position_ids=positions if len(positions) == 1 else positions[:, None],
            # transformers takes a four-dimensional mask as it is; packed attention does not read it.
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
        base: HFModel,
        input_ids: TokenIds,
        embeddings: Hidden,
        image_tokens: TokenMask,
        images: ImageInputs | None,
        groups: TokenIds | None = None,
    ) -> Hidden:
        """Run one stock forward over one whole view, images encoded anew: what the engine ``separate`` runs.

        Args:
            base: The Hugging Face model.
            input_ids: Identifiers, which place the images.
            embeddings: Input embeddings at all other places.
            image_tokens: True at features.
            images: Images of the view, or None.
            groups: Bidirectional groups, see ``bidirectional_groups``.
        """
        kinds = self.token_types(image_tokens, groups, images is not None)
        with _embedding_layer_returns(base, embeddings):
            out = base.base_model(
                input_ids=input_ids[None],
                use_cache=False,
                **{name: value[None] for name, value in kinds.items()},
                **({} if images is None else self.stock_images(base, input_ids, images)),
            )
        states: Tensor = out.last_hidden_state[0]
        return states

    def stock_images(self, base: HFModel, input_ids: TokenIds, images: ImageInputs) -> dict[str, Any]:
        """Return the arguments of the stock model's forward that hold a view's images."""
        return self._tower_inputs(base, images)

    def token_types(self, image_tokens: TokenMask, groups: TokenIds | None, has_images: bool) -> dict[str, Tensor]:
        """Return the arguments of the stock model's forward that tell its tokens apart."""
        return {}

    def _tower_inputs(self, base: HFModel, images: ImageInputs) -> dict[str, Any]:
        own = {key: images[key] for key in self.image_inputs}
        return {k: v.to(base.dtype) if torch.is_tensor(v) and v.is_floating_point() else v for k, v in own.items()}

    def embed(self, base: HFModel, input_ids: TokenIds) -> Hidden:
        """Return the token embeddings; image positions hold a placeholder's."""
        table = base.get_input_embeddings()
        beyond = (input_ids == self.feature_id) & (input_ids >= unwrapped(table).num_embeddings)
        found: Tensor = table(input_ids.masked_fill(beyond, 0))
        return found

    # The parts of the model.

    def decoder(self, base: HFModel) -> nn.Module:
        """Return the language model without its head."""
        found: nn.Module = base.get_decoder()
        return found

    def decoder_prefix(self, base: HFModel) -> str:
        """Return the decoder's name inside the model, from which LoRA's regex is made."""
        decoder = self.decoder(base)
        name: str = next(name for name, module in base.named_modules() if module is decoder)
        return name

    def vision(self, base: HFModel) -> nn.Module:
        """Return the vision tower."""
        children = dict(base.base_model.named_children())
        tower: nn.Module = next(children[name] for name in TOWERS if name in children)
        return tower

    def vision_parameters(self, base: HFModel) -> list[nn.Parameter]:
        """Return the parameters that make an image's features: the tower's, the projector's, and loose ones."""
        text = {id(p) for p in self.decoder(base).parameters()}
        return [p for p in base.base_model.parameters() if id(p) not in text]

    def vision_is_frozen(self, base: HFModel) -> bool:
        """Return whether no parameter of the vision tower trains, so that it runs without a graph."""
        return not any(p.requires_grad for p in self.vision_parameters(base))

    def part(self, name: str, prefix: str) -> Part:
        """Return the part of the model that a parameter belongs to.

        Args:
            name: Name of the parameter in the model without PEFT's wrapper.
            prefix: See ``decoder_prefix``.
        """
        if name.startswith(f"{prefix}.") or not name.startswith("model."):
            return "language"  # the head too
        return "vision" if PROJECTORS.isdisjoint(name.split(".")) else "projector"


def joined_features(features: Any) -> Tensor:
    """Return features as ("rows", "dim"), whatever container a family puts them in."""
    pieces = features if not torch.is_tensor(features) else [features]
    return torch.cat([piece.reshape(-1, piece.shape[-1]) for piece in pieces])


@contextmanager
def _embedding_layer_returns(base: HFModel, embeddings: Hidden) -> Iterator[None]:
    """Let the model's embedding layer return these embeddings, whatever identifiers it is given."""
    handle = base.get_input_embeddings().register_forward_hook(lambda module, args, out: embeddings[None])
    try:
        yield
    finally:
        handle.remove()
