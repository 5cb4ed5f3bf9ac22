"""The one-pass engine: each token once, images once, detached views forward only.

Exact: a token's state depends on the tokens before it alone, so a prefix computed once serves every view that starts
with it. ``separate`` is the reference that it is tested against.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any, final

import torch
from torch import Tensor
from transformers import DynamicCache

from jepa_vlm.adapters import Backbone
from jepa_vlm.engine import attention, vision_attention
from jepa_vlm.engine.batch import Ahead, Batch, PackedSequence, SequenceStates
from jepa_vlm.engine.engine import Engine, TargetWeights, call_attention
from jepa_vlm.engine.join import join
from jepa_vlm.engine.planner import FEEDBACK, GRADIENT, OnePassPlanner
from jepa_vlm.errors import BackboneError
from jepa_vlm.typing import Hidden, SlotInputs, shape_checked
from jepa_vlm.views import Request


@final
class OnePass(Engine):
    """Computes each token once, packed: the engine to train with."""

    name = "one_pass"
    shares_passes = True

    def planner(self, encodings: Sequence[Request], *, dropout: bool) -> OnePassPlanner:
        """See ``Engine.planner``."""
        return OnePassPlanner(encodings=encodings, share_detached=not dropout)

    def check(self, backbone: Backbone) -> None:
        """See ``Engine.check``."""
        if backbone.adapter.separate_because:
            raise BackboneError(
                f"{backbone.name!r} needs engine='separate' (--engine separate): {backbone.adapter.separate_because}."
            )

    def prepare(self, backbone: Backbone) -> None:
        """Let the layers call our attention: the decoder's the packed one, the tower's, where it can, the chunked one.

        It stays on after a forward, since checkpointing reads it again going backward, and serves evaluation as well.
        """
        names = {"text_config": attention.NAME}
        if backbone.adapter.chunked_vision:
            names["vision_config"] = vision_attention.NAME
        call_attention(backbone.base, names)

    def run(
        self, backbone: Backbone, weights: TargetWeights, batch: Batch, slot_inputs: Mapping[str, Tensor]
    ) -> dict[str, SequenceStates]:
        """Encode the images, then every packed sequence: those without gradient first, while no activation is held.

        What was computed ahead of the batch's turn is not computed again.
        """
        features = encode_images(backbone, batch) if batch.ahead is None else batch.ahead.features
        states: dict[str, SequenceStates] = {}
        for name, sequence in batch.sequences.items():
            if name == GRADIENT:
                states[name] = run_packed(backbone, sequence, features, slot_inputs)
            elif name.startswith(FEEDBACK):
                states[name] = run_sequences(backbone, sequence, features)
            elif batch.ahead is None:
                with torch.no_grad(), weights.use(name):
                    states[name] = run_packed(backbone, sequence, features, slot_inputs)
        return states

    def run_ahead(
        self, backbone: Backbone, weights: TargetWeights, batches: Sequence[Batch], slot_inputs: Mapping[str, Tensor]
    ) -> list[Batch]:
        """See ``Engine.run_ahead``: sequences without gradient run as one sequence."""
        return run_ahead(backbone, weights, batches, slot_inputs)


def encode_images(backbone: Backbone, batch: Batch) -> Hidden:
    """Run the vision tower over a batch's images, without a graph if none of it trains."""
    tracked = torch.is_grad_enabled() and not backbone.adapter.vision_is_frozen(backbone.base)
    with torch.set_grad_enabled(tracked):
        return backbone.adapter.encode_images(backbone.base, batch.images)


def run_packed(
    backbone: Backbone, sequence: PackedSequence, features: Tensor, slot_inputs: Mapping[str, Tensor]
) -> SequenceStates:
    """Feed the decoder token embeddings, with image features, soft tokens and latent tokens in their places."""
    inputs, deeper, targets = packed_inputs(backbone, sequence, features, slot_inputs)
    packed = {"packed_layout": sequence.layout, "packed_indices": sequence.indices, "packed_groups": sequence.groups}
    hidden = backbone.adapter.decode(backbone.base, inputs, sequence.positions, packed, sequence.image_at, deeper)
    return SequenceStates(hidden, inputs, targets, sequence.latent.at)


def run_sequences(backbone: Backbone, sequences: Sequence[PackedSequence], features: Tensor) -> SequenceStates:
    """Run views whose latent slots are fed the state before them, one example after another."""
    outs = []
    for sequence in sequences:
        inputs, deeper, targets = packed_inputs(backbone, sequence, features, {})
        hidden, fed = run_feedback(backbone, sequence, inputs, deeper)
        outs.append((hidden, fed, targets, sequence.latent.at))
    starts = accumulate((len(hidden) for hidden, *_ in outs[:-1]), initial=0)
    found = [targets for _, _, targets, _ in outs if targets is not None]
    return SequenceStates(
        hidden=torch.cat([hidden for hidden, *_ in outs]),
        inputs=torch.cat([fed for _, fed, *_ in outs]),
        targets=torch.cat(found) if found else None,
        slot_at=torch.cat([at + start for (*_, at), start in zip(outs, starts, strict=True)]),
    )


def packed_inputs(
    backbone: Backbone, sequence: PackedSequence, features: Tensor, slot_inputs: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return what the decoder is fed, the further columns of the features among it, and what latent slots stand for.

    The last is None where no slot stands for anything.
    """
    inputs = backbone.adapter.embed(backbone.base, sequence.input_ids)
    shown, width = features[sequence.image_rows].to(inputs.dtype), inputs.shape[1]
    inputs = inputs.index_copy(0, sequence.image_at, shown[:, :width])
    for owner, place in sequence.soft_tokens.items():
        inputs = inputs.index_copy(0, place.at, slot_inputs[owner][place.rows].to(inputs.dtype))
    latent = sequence.latent
    if not len(latent.at):
        return inputs, shown[:, width:], None
    targets = slot_targets(features[:, :width], latent.rows, latent.slot, len(latent.at))
    if len(fed := latent.fed):
        inputs = inputs.index_copy(0, latent.at[fed], targets[fed].to(inputs.dtype))
    return inputs, shown[:, width:], targets


def run_feedback(backbone: Backbone, sequence: PackedSequence, inputs: Tensor, deeper: Tensor) -> tuple[Tensor, Tensor]:
    """Return the states of a sequence whose latent tokens are fed the state before them, and what the decoder was fed.

    Each is ("tokens dim"). One latent token runs after the other over a cache of keys and values; gradient flows
    through the fed states and through the cache. ``Separate`` runs the whole view anew for each token and is the
    reference; at inference ``jepa_vlm.generation`` takes the same steps.

    Args:
        backbone: The model.
        sequence: From an ``OnePassPlanner``; ``fed_back`` are its slots. All images come before the first one.
        inputs: What is fed outside the slots, ("tokens dim").
        deeper: Further columns of the images' features.

    Raises:
        BackboneError: If activation checkpointing is on: transformers then drops the cache, and with it the path from
            slot to slot, without a word.
    """
    if backbone.base.is_activation_checkpointing and backbone.base.training:
        raise BackboneError(
            "Slots that are fed the state before them need the cache of keys and values, which activation "
            "checkpointing switches off; train this stage without it, on smaller micro-batches."
        )
    adapter, base, positions = backbone.adapter, backbone.base, sequence.positions
    cache = DynamicCache(config=base.config.get_text_config())
    states: list[Tensor] = []
    fed: list[Tensor] = []

    def go_on(new: Tensor, begin: int, more: Mapping[str, Any], image_at: Tensor, columns: Tensor) -> None:
        place = positions[:, begin : begin + len(new)]
        attention = {"past_key_values": cache, **more}
        states.append(adapter.decode(base, new, place, attention, image_at, columns))
        fed.append(new)

    slots: tuple[int, ...] = sequence.fed_back
    front = slots[0] if slots else len(inputs)
    layout = {
        "packed_layout": sequence.layout,
        "packed_indices": sequence.indices,
        "packed_groups": None if sequence.groups is None else sequence.groups[:front],
    }
    no_images = (sequence.image_at[:0], deeper[:0])
    go_on(inputs[:front], 0, layout, sequence.image_at, deeper)
    at = front
    for slot in slots:
        if slot > at:
            go_on(inputs[at:slot], at, {}, *no_images)
        go_on(states[-1][-1:].to(inputs.dtype), slot, {}, *no_images)
        at = slot + 1
    if at < len(inputs):
        go_on(inputs[at:], at, {}, *no_images)
    return torch.cat(states), torch.cat(fed)


@shape_checked
def slot_targets(features: Hidden, rows: Tensor, slot: Tensor, slots: int) -> SlotInputs:
    """Return what slots stand for: the mean of their features, summed in at least float32, in the features' type.

    Args:
        features: Of all images.
        rows: Rows of them, one after another.
        slot: For each row the slot that it belongs to, ascending.
        slots: How many there are; each has a sequence.
    """
    wide = torch.promote_types(features.dtype, torch.float32)
    sums = features.new_zeros(slots, features.shape[1], dtype=wide).index_add(0, slot, features[rows].to(wide))
    sizes = features.new_zeros(slots, dtype=wide).index_add(0, slot, torch.ones_like(slot, dtype=wide))
    return (sums / sizes[:, None]).to(features.dtype)


@torch.no_grad()
def run_ahead(
    backbone: Backbone,
    weights: TargetWeights,
    batches: Sequence[Batch],
    slot_inputs: Mapping[str, Tensor],
) -> list[Batch]:
    """Return the batches, each with its ``Ahead``; as they are if there is nothing to join, or the vision tower trains.

    The weights do not change between the batches, and sequences without gradient run without dropout, so that it does
    not matter when they are computed. Joined, they cost the launches of one sequence. Only the images' features and the
    states that are read are kept; of a prediction's target that is one state per example.

    Args:
        backbone: The model.
        weights: Switches to the weights that a packed sequence names.
        batches: Between two updates of the weights; from the collator, with an ``OnePassPlanner``'s sequences.
        slot_inputs: Learned inputs by owner, ("slots dim").
    """
    every = [name for batch in batches for name in batch.sequences]
    names = [name for name in every if name != GRADIENT and not name.startswith(FEEDBACK)]
    if len(names) == len(set(names)) or not backbone.adapter.vision_is_frozen(backbone.base):
        return list(batches)
    features = [encode_images(backbone, batch) for batch in batches]
    read: list[dict[Request, SequenceStates]] = [{} for _ in batches]
    for name in dict.fromkeys(names):
        members = [i for i, batch in enumerate(batches) if name in batch.sequences]
        own = [features[i] for i in members]
        sequence, moves = join([batches[i].sequences[name] for i in members], [len(each) for each in own])
        with weights.use(name):
            states = run_packed(backbone, sequence, torch.cat(own), slot_inputs)
        for i, move in zip(members, moves, strict=True):
            asked = {request: each for request, each in batches[i].reads.items() if each.sequence == name}
            read[i].update({request: states.at(move(each.index)) for request, each in asked.items()})
    return [replace(batch, ahead=Ahead(features[i], read[i])) for i, batch in enumerate(batches)]
