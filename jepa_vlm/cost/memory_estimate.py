"""The memory of a training step beyond weights, gradients and optimizer, estimated from sizes.

For the one-pass step with adapters on the decoder, a frozen vision tower and attention that holds no scores. The
allocator's rounding and what CUDA and its libraries take for themselves come on top, about a gigabyte together."""

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
    """Sizes of a model of which the decoder trains, by adapters or in full, and the vision tower does not.

    Args:
        lora_rank: Rank of the adapters; 0 trains the decoder, its embeddings and its head in full.
        lora_modules: Projections with an adapter.

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


WIDE = 4  # bytes of a float32: norms, log-sum-exps, adapters, their gradients and averages


@final
@dataclass(frozen=True, kw_only=True)
class MicroBatchSize:
    """Sizes of one micro-batch.

    Args:
        tokens: Length of the packed sequence with gradient.
        seen: Keys and values that suffixes gather: shared prefix plus suffix, summed over suffixes.
        detached: Length of the longest packed sequence without gradient.
        supervised: Number of tokens that the head predicts.
        states: Number of states that the next-latent term reads; 0 without that term.
        patches: Number of patches of all images.
    """

    tokens: int
    seen: int = 0
    detached: int = 0
    supervised: int = 0
    states: int = 0
    patches: int = 0


@final
@dataclass(frozen=True, kw_only=True)
class StepMemory:
    """Bytes beyond weights, gradients and the optimizer's averages.

    Args:
        copies: Half-precision copies of the adapter, which autocast makes and keeps for the backward pass.
        layers: What the decoder's layers save for the backward pass.
        terms: What the last norm and the terms save for the backward pass.
        working: Short-lived memory on top: the logits of a chunk, or gradients as wide as the MLP and a layer that
            runs again.
        before: Peak before anything is saved: the vision tower, or a packed sequence without gradient.
    """

    copies: int
    layers: int
    terms: int
    working: int
    before: int

    @property
    def saved(self) -> int:
        """Bytes that the forward pass saves for the backward pass."""
        return self.copies + self.layers + self.terms

    @property
    def peak(self) -> int:
        """The largest number of bytes at any moment."""
        return max(self.saved + self.working, self.before)


def step_memory(
    shape: Shape,
    batch: MicroBatchSize,
    *,
    width: int = 2,
    autocast: bool | None = None,
    chunk: int = 1024,
    checkpointing: bool = False,
) -> StepMemory:
    """Return the estimate for one micro-batch.

    Args:
        shape: Sizes of the model.
        batch: Sizes of the micro-batch.
        width: Bytes of a base weight.
        autocast: Whether float32 adapters are cast to the base's precision; by default if that is a half precision.
        chunk: Number of positions whose logits are in memory at once.
        checkpointing: Whether the decoder's layers run again for the backward pass.

    Raises:
        ValueError: If the decoder is trained in full; the estimate does not cover that.
    """
    if shape.full:
        raise ValueError("The memory estimate knows adapters only; this decoder is trained in full.")
    decoder, whole = shape.decoder, layer_saved(shape, batch, width)
    cast = width < WIDE if autocast is None else autocast
    logits = min(chunk, batch.supervised) * decoder.vocab * (width + WIDE)
    going_back = batch.tokens * (2 * width * decoder.intermediate + 2 * WIDE * decoder.hidden)
    if checkpointing:
        going_back += whole
    terms = width * decoder.hidden * (batch.supervised + 2 * batch.states)
    return StepMemory(
        # With checkpointing only the layer that runs again has its copies.
        copies=width * _adapter(shape) // (decoder.layers if checkpointing else 1) if cast else 0,
        layers=decoder.layers * (width * decoder.hidden * batch.tokens if checkpointing else whole),
        terms=WIDE * batch.tokens * (decoder.hidden + 1) + terms,
        working=max(logits, going_back),
        before=max(_tower(shape, batch, width), _forward_only(shape, batch, width)),
    )


def layer_saved(shape: Shape, batch: MicroBatchSize, width: int) -> int:
    """Return the bytes that one decoder layer saves for its backward pass without checkpointing.

    Per token, in the base's precision: gate, its activation, up and their product; the inputs of the attention and
    of the MLP; queries, keys, values, what attention returns and the output projection's input; the adapters' narrow
    middles. In float32: the two norms' inputs with their scales, and the log-sum-exps. A suffix gathers its keys and
    values once more.
    """
    decoder = shape.decoder
    queries, keys = decoder.heads * decoder.head_dim, decoder.kv_heads * decoder.head_dim
    narrow = shape.lora_rank * len(shape.lora_modules)
    each = 4 * decoder.intermediate + 2 * decoder.hidden + 3 * queries + 2 * keys + narrow
    wide = 2 * (decoder.hidden + 1) + decoder.heads
    return batch.tokens * (width * each + WIDE * wide) + width * 2 * keys * batch.seen


def _adapter(shape: Shape) -> int:
    sizes = shape.decoder.projections()
    return shape.decoder.layers * sum(shape.lora_rank * sum(sizes[name]) for name in shape.lora_modules)


def _tower(shape: Shape, batch: MicroBatchSize, width: int) -> int:
    vision = shape.vision
    return batch.patches * (width * (3 * vision.intermediate + 4 * vision.hidden) + 2 * WIDE * vision.hidden)


def _forward_only(shape: Shape, batch: MicroBatchSize, width: int) -> int:
    decoder = shape.decoder
    return batch.detached * (width * (3 * decoder.intermediate + 4 * decoder.hidden) + 2 * WIDE * decoder.hidden)
