"""The reference engine: one stock forward for each view of each example, images encoded anew. Slow and obvious."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, final

import torch
from accelerate.utils import send_to_device
from torch import Tensor

from jepa_vlm.adapters import Backbone
from jepa_vlm.encoders.states import RowStates
from jepa_vlm.encoders.stock import call_attention
from jepa_vlm.encoders.target_weights import TargetWeights
from jepa_vlm.serialization import TokenizedView
from jepa_vlm.views import BatchPlan, Encoding, Location


@final
class SeparatePlanner:
    """Keeps every view whole and apart: nothing is shared, nothing is cut.

    Args:
        encodings: What the objective needs.
    """

    images_together = False

    def __init__(self, *, encodings: Sequence[Encoding]) -> None:
        self.encodings = tuple(encodings)

    def __call__(
        self,
        views: Sequence[Sequence[TokenizedView]],
        needed: Sequence[Sequence[int]],
        image_starts: Sequence[Sequence[int]],
    ) -> BatchPlan:
        """Return one row per encoding, which lists its views."""
        rows: dict[str, dict[str, Any]] = {}
        locations = []
        for e, encoding in enumerate(self.encodings):
            own = [each[e] for each in views]
            name = f"{e}:{encoding.view.name}"
            rows[name] = {
                "gradient": encoding.policy.gradient,
                "weights": encoding.policy.weights,
                "owner": encoding.slots.owner if encoding.slots else "",
                "views": [
                    {
                        "input_ids": view.input_ids,
                        "image_tokens": view.image_tokens,
                        "slots": view.slots,
                        "example": i,
                        "images": view.images,
                        "blocks": view.blocks,
                    }
                    for i, view in enumerate(own)
                ],
            }
            locations.append(Location(name, torch.arange(sum(len(view) for view in own))))
        return BatchPlan(rows, tuple(locations))


def prepare(backbone: Backbone) -> None:
    """Let every layer call stock attention, whatever engine ran on the backbone before."""
    call_attention(backbone.base, {"text_config": "sdpa", "vision_config": "sdpa"})


def run_separately(
    backbone: Backbone,
    weights: TargetWeights,
    batch: Mapping[str, Any],
    slot_inputs: Mapping[str, Tensor],
) -> dict[str, RowStates]:
    """Run every view of every example through the stock model.

    Args:
        backbone: The model.
        weights: Switches to the weights that a view's policy names.
        batch: From the collator, with a ``SeparatePlanner``'s rows.
        slot_inputs: Learned inputs by owner, ("slots dim").
    """
    states: dict[str, RowStates] = {}
    for name, row in batch["rows"].items():
        tracked = row["gradient"] and torch.is_grad_enabled()
        with torch.set_grad_enabled(tracked), nullcontext() if row["gradient"] else weights.use(row["weights"]):
            outs = [_run_view(backbone, view, batch["images"], slot_inputs.get(row["owner"])) for view in row["views"]]
        states[name] = RowStates(torch.cat([hidden for hidden, _ in outs]), torch.cat([fed for _, fed in outs]))
    return states


def _run_view(
    backbone: Backbone, view: Mapping[str, Any], images: Sequence[Sequence[Mapping[str, Tensor]]], slots: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the states of one view, and what the decoder was fed."""
    adapter, base = backbone.adapter, backbone.base
    own = send_to_device([images[view["example"]][i] for i in view["images"]], "cpu")
    shown = send_to_device(adapter.collate_images(own), view["input_ids"].device) if own else None
    embeddings = adapter.embed(base, view["input_ids"])
    if slots is not None:
        embeddings = embeddings.index_copy(0, view["slots"].nonzero()[:, 0], slots.to(embeddings.dtype))
    hidden = adapter.reference(base, view["input_ids"], embeddings, view["image_tokens"], shown, view["blocks"])
    fed = embeddings
    if shown is not None:
        features = adapter.encode_images(base, shown)[:, : fed.shape[1]].to(fed.dtype)
        fed = fed.index_copy(0, view["image_tokens"].nonzero()[:, 0], features)
    return hidden, fed
