"""The one-pass engine: each token once, images once, detached views forward only.

Exact: a token's state depends on the tokens before it alone, so a prefix computed once serves every view that starts
with it. ``separate`` is the reference that it is tested against.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from jepa_vlm.adapters import Backbone
from jepa_vlm.encoders import attention, feedback, vision_attention
from jepa_vlm.encoders.latent_slots import slot_targets
from jepa_vlm.encoders.planner import FEEDBACK, GRADIENT
from jepa_vlm.encoders.row_states import AHEAD, Ahead, RowStates
from jepa_vlm.encoders.stock import call_attention
from jepa_vlm.encoders.target_weights import TargetWeights
from jepa_vlm.typing import Hidden
from jepa_vlm.views import Layout


def prepare(backbone: Backbone) -> None:
    """Let the layers call our attention: the decoder's the packed one, the tower's, where it can, the chunked one.

    It stays on after a forward, since checkpointing reads it again going backward, and serves evaluation as well.
    """
    names = {"text_config": attention.NAME}
    if backbone.adapter.chunked_vision:
        names["vision_config"] = vision_attention.NAME
    call_attention(backbone.base, names)


def run_rows(
    backbone: Backbone,
    weights: TargetWeights,
    batch: Mapping[str, Any],
    slot_inputs: Mapping[str, Tensor],
) -> dict[str, RowStates]:
    """Encode the images once, then every row: those without gradient first, while no activation is held.

    What was computed ahead of the batch's turn is not computed again.

    Args:
        backbone: The model.
        weights: Switches to the weights that a row names.
        batch: From the collator, with an ``OnePassPlanner``'s rows; perhaps with what was computed ``ahead``.
        slot_inputs: Learned inputs by owner, ("slots dim").
    """
    ahead: Ahead | None = batch.get(AHEAD)
    features = encode_images(backbone, batch) if ahead is None else ahead.features
    states: dict[str, RowStates] = {}
    for name, row in batch["rows"].items():
        if name == GRADIENT:
            states[name] = run_row(backbone, row, features, slot_inputs)
        elif name.startswith(FEEDBACK):
            states[name] = run_sequences(backbone, row["sequences"], features)
        elif ahead is None:
            with torch.no_grad(), weights.use(name):
                states[name] = run_row(backbone, row, features, slot_inputs)
    return states


def encode_images(backbone: Backbone, batch: Mapping[str, Any]) -> Hidden:
    """Run the vision tower over a batch's images, without a graph if none of it trains."""
    tracked = torch.is_grad_enabled() and not backbone.adapter.vision_is_frozen(backbone.base)
    with torch.set_grad_enabled(tracked):
        return backbone.adapter.encode_images(backbone.base, batch["images"])


def run_row(
    backbone: Backbone, row: Mapping[str, Any], features: Tensor, slot_inputs: Mapping[str, Tensor]
) -> RowStates:
    """Feed the decoder a row's token embeddings, with image features and learned or latent slots in their places."""
    inputs, deeper, targets = row_inputs(backbone, row, features, slot_inputs)
    packed = {"packed_layout": Layout.of(row), "packed_indices": row["indices"], "packed_blocks": row["blocks"]}
    hidden = backbone.adapter.decode(backbone.base, inputs, row["positions"], packed, row["image_at"], deeper)
    return RowStates(hidden, inputs, targets, row["latent"]["at"])


def run_sequences(backbone: Backbone, sequences: Sequence[Mapping[str, Any]], features: Tensor) -> RowStates:
    """Run views whose latent slots are fed the state before them, one example after another."""
    outs = []
    for sequence in sequences:
        inputs, deeper, targets = row_inputs(backbone, sequence, features, {})
        hidden, fed = feedback.run(backbone, sequence, inputs, deeper)
        outs.append((hidden, fed, targets, sequence["latent"]["at"]))
    starts = accumulate((len(hidden) for hidden, *_ in outs[:-1]), initial=0)
    found = [targets for _, _, targets, _ in outs if targets is not None]
    return RowStates(
        hidden=torch.cat([hidden for hidden, *_ in outs]),
        inputs=torch.cat([fed for _, fed, *_ in outs]),
        targets=torch.cat(found) if found else None,
        slot_at=torch.cat([at + start for (*_, at), start in zip(outs, starts, strict=True)]),
    )


def row_inputs(
    backbone: Backbone, row: Mapping[str, Any], features: Tensor, slot_inputs: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return what the decoder is fed, the further columns of the features among it, and what latent slots stand for.

    The last is None where no slot stands for anything.
    """
    inputs = backbone.adapter.embed(backbone.base, row["input_ids"])
    shown, width = features[row["image_rows"]].to(inputs.dtype), inputs.shape[1]
    inputs = inputs.index_copy(0, row["image_at"], shown[:, :width])
    for owner, place in row["slots"].items():
        inputs = inputs.index_copy(0, place["at"], slot_inputs[owner][place["rows"]].to(inputs.dtype))
    latent = row["latent"]
    if not len(latent["at"]):
        return inputs, shown[:, width:], None
    targets = slot_targets(features[:, :width], latent["rows"], latent["slot"], len(latent["at"]))
    if len(fed := latent["fed"]):
        inputs = inputs.index_copy(0, latent["at"][fed], targets[fed].to(inputs.dtype))
    return inputs, shown[:, width:], targets
