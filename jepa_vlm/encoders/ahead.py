"""The rows without gradient of all micro-batches of an accumulation window, run as one.

The weights do not change inside a window, and these rows are read detached and run without dropout, so that it does not
matter when they are computed. Together they cost the launches of one row. What is kept until a micro-batch's turn is
its images' features, and the states that are read; of a prediction's target that is one per example.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from accelerate.utils import send_to_device
from torch import Tensor

from jepa_vlm.adapters import Backbone
from jepa_vlm.encoders.attention import kernel_indices
from jepa_vlm.encoders.one_pass import decode, encode_images, row_inputs
from jepa_vlm.encoders.planner import GRADIENT
from jepa_vlm.encoders.states import AHEAD, Ahead, RowStates
from jepa_vlm.encoders.target_weights import TargetWeights
from jepa_vlm.views import Layout


@torch.no_grad()
def run_ahead(
    backbone: Backbone,
    weights: TargetWeights,
    batches: Sequence[Mapping[str, Any]],
    slot_inputs: Mapping[str, Tensor],
) -> list[dict[str, Any]]:
    """Return the batches, each with its ``Ahead``; as they are if there is nothing to join, or the vision tower trains.

    Args:
        backbone: The model.
        weights: Switches to the weights that a row names.
        batches: Between two updates of the weights; from the collator, with an ``OnePassPlanner``'s rows.
        slot_inputs: Learned inputs by owner, ("slots dim").
    """
    own = [[name for name in batch["rows"] if name != GRADIENT] for batch in batches]
    if sum(map(bool, own)) < 2 or not backbone.adapter.vision_is_frozen(backbone.base):
        return [dict(batch) for batch in batches]
    features = [encode_images(backbone, batch) for batch in batches]
    states: list[dict[str, RowStates]] = [{} for _ in batches]
    for name in dict.fromkeys(name for names in own for name in names):
        members = [i for i, names in enumerate(own) if name in names]
        rows = [batches[i]["rows"][name] for i in members]
        with weights.use(name):
            inputs = [row_inputs(backbone, row, features[i], slot_inputs) for row, i in zip(rows, members, strict=True)]
            for i, found in zip(members, decode_joined(backbone, inputs, rows), strict=True):
                states[i][name] = found
    return [{**batch, AHEAD: Ahead(features[i], _read(batch["reads"], states[i]))} for i, batch in enumerate(batches)]


def decode_joined(backbone: Backbone, inputs: Sequence[Tensor], rows: Sequence[Mapping[str, Any]]) -> list[RowStates]:
    """Run the decoder over several rows at once: all their segments first, then all their branches."""
    layouts = [Layout.of(row) for row in rows]
    layout = join(layouts)
    indices = send_to_device(kernel_indices(layout), inputs[0].device, non_blocking=True)
    positions = _interleave([row["positions"] for row in rows], layouts, dim=1)
    found = decode(backbone, _interleave(inputs, layouts, dim=0), positions, layout, indices)
    fronts, rests = [sum(each.segments) for each in layouts], [len(each) - sum(each.segments) for each in layouts]
    pieces = found.hidden.split(fronts + rests)
    hidden = [torch.cat(pair) for pair in zip(pieces[: len(rows)], pieces[len(rows) :], strict=True)]
    return [RowStates(states, fed) for states, fed in zip(hidden, inputs, strict=True)]


def join(layouts: Sequence[Layout]) -> Layout:
    """Return the layout of the rows' segments one after another, then their branches."""
    segments: list[int] = []
    branches = []
    for layout in layouts:
        start = sum(segments)
        branches += [replace(branch, start=branch.start + start) for branch in layout.branches]
        segments += layout.segments
    return Layout(tuple(segments), tuple(branches))


def _interleave(rows: Sequence[Tensor], layouts: Sequence[Layout], *, dim: int) -> Tensor:
    fronts = [row.narrow(dim, 0, sum(each.segments)) for row, each in zip(rows, layouts, strict=True)]
    rests = [
        row.narrow(dim, sum(each.segments), len(each) - sum(each.segments))
        for row, each in zip(rows, layouts, strict=True)
    ]
    return torch.cat([*fronts, *rests], dim=dim)


def _read(reads: Sequence[Mapping[str, Any]], states: Mapping[str, RowStates]) -> dict[int, RowStates]:
    return {i: states[read["row"]].at(read["index"]) for i, read in enumerate(reads) if read["row"] in states}
