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
from jepa_vlm.engine.batch import Ahead, Batch, PackedSequence, RowStates
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
    ) -> dict[str, RowStates]:
        """Encode the images once, then every row: those without gradient first, while no activation is held.

        What was computed ahead of the batch's turn is not computed again.
        """
        features = encode_images(backbone, batch) if batch.ahead is None else batch.ahead.features
        states: dict[str, RowStates] = {}
        for name, row in batch.rows.items():
            if name == GRADIENT:
                states[name] = run_row(backbone, row, features, slot_inputs)
            elif name.startswith(FEEDBACK):
                states[name] = run_sequences(backbone, row, features)
            elif batch.ahead is None:
                with torch.no_grad(), weights.use(name):
                    states[name] = run_row(backbone, row, features, slot_inputs)
        return states

    def run_ahead(
        self, backbone: Backbone, weights: TargetWeights, batches: Sequence[Batch], slot_inputs: Mapping[str, Tensor]
    ) -> list[Batch]:
        """See ``Engine.run_ahead``: rows without gradient run as one row."""
        return run_ahead(backbone, weights, batches, slot_inputs)


def encode_images(backbone: Backbone, batch: Batch) -> Hidden:
    """Run the vision tower over a batch's images, without a graph if none of it trains."""
    tracked = torch.is_grad_enabled() and not backbone.adapter.vision_is_frozen(backbone.base)
    with torch.set_grad_enabled(tracked):
        return backbone.adapter.encode_images(backbone.base, batch.images)


def run_row(backbone: Backbone, row: PackedSequence, features: Tensor, slot_inputs: Mapping[str, Tensor]) -> RowStates:
    """Feed the decoder a row's token embeddings, with image features and learned or latent slots in their places."""
    inputs, deeper, targets = row_inputs(backbone, row, features, slot_inputs)
    packed = {"packed_layout": row.layout, "packed_indices": row.indices, "packed_blocks": row.blocks}
    hidden = backbone.adapter.decode(backbone.base, inputs, row.positions, packed, row.image_at, deeper)
    return RowStates(hidden, inputs, targets, row.latent.at)


def run_sequences(backbone: Backbone, sequences: Sequence[PackedSequence], features: Tensor) -> RowStates:
    """Run views whose latent slots are fed the state before them, one example after another."""
    outs = []
    for sequence in sequences:
        inputs, deeper, targets = row_inputs(backbone, sequence, features, {})
        hidden, fed = run_feedback(backbone, sequence, inputs, deeper)
        outs.append((hidden, fed, targets, sequence.latent.at))
    starts = accumulate((len(hidden) for hidden, *_ in outs[:-1]), initial=0)
    found = [targets for _, _, targets, _ in outs if targets is not None]
    return RowStates(
        hidden=torch.cat([hidden for hidden, *_ in outs]),
        inputs=torch.cat([fed for _, fed, *_ in outs]),
        targets=torch.cat(found) if found else None,
        slot_at=torch.cat([at + start for (*_, at), start in zip(outs, starts, strict=True)]),
    )


def row_inputs(
    backbone: Backbone, row: PackedSequence, features: Tensor, slot_inputs: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return what the decoder is fed, the further columns of the features among it, and what latent slots stand for.

    The last is None where no slot stands for anything.
    """
    inputs = backbone.adapter.embed(backbone.base, row.input_ids)
    shown, width = features[row.image_rows].to(inputs.dtype), inputs.shape[1]
    inputs = inputs.index_copy(0, row.image_at, shown[:, :width])
    for owner, place in row.soft_tokens.items():
        inputs = inputs.index_copy(0, place.at, slot_inputs[owner][place.rows].to(inputs.dtype))
    latent = row.latent
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
        "packed_blocks": None if sequence.blocks is None else sequence.blocks[:front],
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
        slots: How many there are; each has a row.
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

    The weights do not change between the batches, and rows without gradient run without dropout, so that it does not
    matter when they are computed. Joined, they cost the launches of one row. Only the images' features and the states
    that are read are kept; of a prediction's target that is one state per example.

    Args:
        backbone: The model.
        weights: Switches to the weights that a row names.
        batches: Between two updates of the weights; from the collator, with an ``OnePassPlanner``'s rows.
        slot_inputs: Learned inputs by owner, ("slots dim").
    """
    names = [name for batch in batches for name in batch.rows if name != GRADIENT and not name.startswith(FEEDBACK)]
    if len(names) == len(set(names)) or not backbone.adapter.vision_is_frozen(backbone.base):
        return list(batches)
    features = [encode_images(backbone, batch) for batch in batches]
    read: list[dict[Request, RowStates]] = [{} for _ in batches]
    for name in dict.fromkeys(names):
        members = [i for i, batch in enumerate(batches) if name in batch.rows]
        own = [features[i] for i in members]
        row, moves = join([batches[i].rows[name] for i in members], [len(each) for each in own])
        with weights.use(name):
            states = run_row(backbone, row, torch.cat(own), slot_inputs)
        for i, move in zip(members, moves, strict=True):
            asked = {request: each for request, each in batches[i].reads.items() if each.row == name}
            read[i].update({request: states.at(move(each.index)) for request, each in asked.items()})
    return [replace(batch, ahead=Ahead(features[i], read[i])) for i, batch in enumerate(batches)]
