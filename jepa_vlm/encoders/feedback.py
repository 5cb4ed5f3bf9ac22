"""A sequence whose latent slots are fed the state before them: slot by slot, over a cache of keys and values.

Gradient flows through the fed states and through the cache. ``separate`` runs the whole view anew for each slot, and is
the reference; at inference ``jepa_vlm.generation.latent_feedback`` takes the same steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from jepa_vlm.adapters import Backbone
from jepa_vlm.encoders.batch import PackedSequence
from jepa_vlm.errors import BackboneError


def run(backbone: Backbone, sequence: PackedSequence, inputs: Tensor, deeper: Tensor) -> tuple[Tensor, Tensor]:
    """Return the states of a sequence, and what the decoder was fed, each ("tokens dim").

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
