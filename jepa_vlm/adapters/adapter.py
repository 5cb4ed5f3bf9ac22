"""What a vision-language model must answer so that objectives can run on it, answered by transformers' own interfaces.

An adapter knows one family. It holds the model's configuration but no weights, so that collators stay picklable;
methods that need weights take the Hugging Face model (PEFT's wrapper removed; LoRA lives inside it). This class fits
most families as it is; a family that differs overrides what differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from jepa_vlm.adapters.feeding import fed, flat
from jepa_vlm.adapters.inside_peft import unwrapped
from jepa_vlm.adapters.reading import Reading
from jepa_vlm.registry import Registry
from jepa_vlm.typing import Hidden, TokenIds, TokenMask

ADAPTERS: Registry[Callable[..., Adapter]] = Registry(  # by ``model_type``; each takes ``config``
    "adapter", hint="A new family needs one file, see docs/adding_an_adapter.md."
)
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

TOWERS = ("visual", "vision_tower", "vision_model")
PROJECTORS = frozenset(
    ("multi_modal_projector", "connector", "merger", "deepstack_merger_list", "downsample", "image_newline")
)
Part = Literal["language", "projector", "vision"]


class Adapter(Reading):
    """One family of vision-language models: how it reads, see ``Reading``, and what its model answers to engines."""

    video_processor: str = ""  # its class, where the family has one
    chunked_vision: bool = False  # whether the tower hands all its chunks (images, windows) to flash attention at once
    mixes_types: bool = True  # whether the model runs, under autocast, with a decoder and a tower of different types
    projections: tuple[str, ...] = PROJECTIONS  # the decoder's linear layers, by the last part of their names

    @property
    def separate_because(self) -> str:
        """Why views cannot share a packed row, so that they need the engine ``separate``; "" if they can."""
        return ""

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
                **({} if images is None else self.shown(base, input_ids, images)),
            )
        states: Tensor = out.last_hidden_state[0]
        return states

    def shown(self, base: Any, input_ids: TokenIds, images: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the stock model is handed of a view's images."""
        return self._inputs(base, images)

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
