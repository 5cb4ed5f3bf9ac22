"""Runs the decoder on packed sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from jepa_vlm.adapters import Backbone
from jepa_vlm.encoders import feedback
from jepa_vlm.encoders.batch import Batch, PackedSequence
from jepa_vlm.encoders.latent_slots import slot_targets
from jepa_vlm.encoders.row_states import RowStates
from jepa_vlm.typing import Hidden


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
        hidden, fed = feedback.run(backbone, sequence, inputs, deeper)
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
