"""The sizes of a vision-language model that decide what a training step costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

LORA_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@final
@dataclass(frozen=True)
class DecoderShape:
    """The language model: ``layers`` of grouped-query attention and a gated MLP, and an untied or tied head."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int

    def projections(self) -> dict[str, tuple[int, int]]:
        """Return (inputs, outputs) of each linear map of one layer, by its usual name."""
        wide, narrow = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "q_proj": (self.hidden, wide),
            "k_proj": (self.hidden, narrow),
            "v_proj": (self.hidden, narrow),
            "o_proj": (wide, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }


@final
@dataclass(frozen=True)
class VisionShape:
    """Qwen2.5-VL's vision tower: blocks with window attention, some with full attention, then a merger.

    Args:
        window: Side of an attention window in pixels.
        full_blocks: How many of the ``depth`` blocks attend over the whole frame.
        out: Width of a merged token, the decoder's hidden size.
    """

    depth: int
    hidden: int
    intermediate: int
    out: int
    patch: int
    merge: int
    temporal: int
    channels: int
    window: int
    full_blocks: int


@final
@dataclass(frozen=True)
class Shape:
    """A model and what of it is trained: the adapters of the decoder, and nothing of the vision tower.

    Args:
        lora_rank: 0 for no adapters: the decoder, its embeddings and its head are then trained in full.
        lora_modules: Which projections carry an adapter.

    Raises:
        ValueError: If ``lora_rank`` is negative or a module is not a projection of the decoder.
    """

    decoder: DecoderShape
    vision: VisionShape
    lora_rank: int = 0
    lora_modules: tuple[str, ...] = LORA_MODULES

    def __post_init__(self) -> None:
        if self.lora_rank < 0:
            raise ValueError(f"lora_rank must not be negative, got {self.lora_rank}.")
        unknown = sorted(set(self.lora_modules) - set(LORA_MODULES))
        if unknown:
            raise ValueError(f"lora_modules must be among {', '.join(LORA_MODULES)}; got {', '.join(unknown)}.")

    @property
    def full(self) -> bool:
        """Whether the decoder is trained in full."""
        return self.lora_rank == 0

    @classmethod
    def of(cls, config: Any, *, lora_rank: int = 0, lora_modules: tuple[str, ...] = LORA_MODULES) -> Shape:
        """Read the sizes from a Hugging Face config of the Qwen2.5-VL kind.

        Raises:
            ValueError: If the config lacks one of the attributes.
        """
        try:
            decoder, vision = _decoder(config.text_config), _vision(config.vision_config)
        except AttributeError as lacking:
            kind = getattr(config, "model_type", type(config).__name__)
            raise ValueError(
                f"The closed form knows towers and decoders of Qwen2.5-VL's kind; {kind!r} is another ({lacking})."
            ) from None
        return cls(decoder, vision, lora_rank, lora_modules)


def _decoder(text: Any) -> DecoderShape:
    return DecoderShape(
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        heads=text.num_attention_heads,
        kv_heads=text.num_key_value_heads,
        head_dim=getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads,
        intermediate=text.intermediate_size,
        vocab=text.vocab_size,
    )


def _vision(tower: Any) -> VisionShape:
    return VisionShape(
        depth=tower.depth,
        hidden=tower.hidden_size,
        intermediate=tower.intermediate_size,
        out=tower.out_hidden_size,
        patch=tower.patch_size,
        merge=tower.spatial_merge_size,
        temporal=tower.temporal_patch_size,
        channels=tower.in_channels,
        window=tower.window_size,
        full_blocks=len(set(tower.fullatt_block_indexes)),
    )
