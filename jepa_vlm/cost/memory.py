"""How much memory a training step takes beyond the weights: estimated from sizes, checked against counted bytes.

For the one-pass step with adapters on the decoder, a frozen vision tower and attention that holds no scores. Not in it:
the allocator's rounding, and what CUDA and its libraries take for themselves, about a gigabyte together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from jepa_vlm.cost.shape import Shape

WIDE = 4  # bytes of what is always float32: norms, log-sum-exps, adapters, their gradients and averages


@final
@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """What one micro-batch computes.

    Args:
        tokens: Of the row with gradient.
        seen: Keys and values that branches gather: prefix and branch, summed over branches.
        detached: Of the longest row without gradient.
        supervised: Tokens that the head is asked to predict.
        states: That the next-latent term reads; 0 without it.
        patches: Of all images.
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
    """Bytes beyond weights, gradients and the optimiser's averages.

    Args:
        copies: Half-precision copies of the adapter, which autocast makes and keeps for the backward pass.
        layers: What the decoder's layers hold for it.
        terms: What the last norm and the terms hold for it.
        working: What lives for a moment on top of these: logits of a chunk; or gradients as wide as the MLP, and a
            layer that is run again.
        before: What is needed at most before anything is held: the vision tower, or a row without gradient.
    """

    copies: int
    layers: int
    terms: int
    working: int
    before: int

    @property
    def saved(self) -> int:
        """What is held when the forward pass is over."""
        return self.copies + self.layers + self.terms

    @property
    def peak(self) -> int:
        """The most that is needed at any moment."""
        return max(self.saved + self.working, self.before)


def step_memory(
    shape: Shape,
    batch: MicroBatch,
    *,
    width: int = 2,
    autocast: bool | None = None,
    chunk: int = 1024,
    checkpointing: bool = False,
) -> StepMemory:
    """Return the estimate for one micro-batch.

    Args:
        shape: Of the model.
        batch: Its sizes.
        width: Bytes of a base weight.
        autocast: Whether float32 adapters are cast to the base's precision; by default where that is a half.
        chunk: Rows whose logits are held at once.
        checkpointing: The decoder's layers are run again for the backward pass.

    Raises:
        ValueError: If the decoder is trained in full, which this estimate does not know.
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
        # With checkpointing, those of the one layer that is run again.
        copies=width * _adapter(shape) // (decoder.layers if checkpointing else 1) if cast else 0,
        layers=decoder.layers * (width * decoder.hidden * batch.tokens if checkpointing else whole),
        terms=WIDE * batch.tokens * (decoder.hidden + 1) + terms,
        working=max(logits, going_back),
        before=max(_tower(shape, batch, width), _forward_only(shape, batch, width)),
    )


def layer_saved(shape: Shape, batch: MicroBatch, width: int) -> int:
    """Return the bytes that one decoder layer holds for its backward pass when nothing is checkpointed.

    A token holds, in the base's precision: gate, its activation, up and their product; the inputs of the attention and
    of the MLP; queries, keys, values, what attention returns and the output projection's input; the adapters' narrow
    middles. In float32: the two norms' inputs with their scales, and the log-sum-exps. A branch gathers its keys and
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


def _tower(shape: Shape, batch: MicroBatch, width: int) -> int:
    vision = shape.vision
    return batch.patches * (width * (3 * vision.intermediate + 4 * vision.hidden) + 2 * WIDE * vision.hidden)


def _forward_only(shape: Shape, batch: MicroBatch, width: int) -> int:
    decoder = shape.decoder
    return batch.detached * (width * (3 * decoder.intermediate + 4 * decoder.hidden) + 2 * WIDE * decoder.hidden)
