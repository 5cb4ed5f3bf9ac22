"""The reference engine: one stock forward for each view of each example, images encoded anew. Slow and obvious."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from itertools import accumulate
from typing import Any, final

import torch
from accelerate.utils import send_to_device
from torch import Tensor

from jepa_vlm.adapters import Backbone
from jepa_vlm.encoders.row_states import RowStates
from jepa_vlm.encoders.stock import call_attention
from jepa_vlm.encoders.target_weights import TargetWeights
from jepa_vlm.serialization import TokenizedView
from jepa_vlm.views import BatchPlan, Encoding, LatentConversation, Location


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
                        "sources": view.slot_sources,
                        "fed": encoding.view.fed if isinstance(encoding.view, LatentConversation) else "",
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
        states[name] = _joined(outs)
    return states


def _joined(outs: Sequence[RowStates]) -> RowStates:
    starts = accumulate((len(out.hidden) for out in outs[:-1]), initial=0)
    return RowStates(
        hidden=torch.cat([out.hidden for out in outs]),
        inputs=torch.cat([out.inputs for out in outs]),
        targets=torch.cat([out.targets for out in outs if out.targets is not None]),
        slot_at=torch.cat([out.slot_at + at for out, at in zip(outs, starts, strict=True) if out.slot_at is not None]),
    )


def _run_view(
    backbone: Backbone, view: Mapping[str, Any], images: Sequence[Sequence[Mapping[str, Tensor]]], slots: Tensor | None
) -> RowStates:
    """Return the states of one view, and what the decoder was fed."""
    adapter, base = backbone.adapter, backbone.base
    own = send_to_device([images[view["example"]][i] for i in view["images"]], "cpu")
    shown = send_to_device(adapter.collate_images(own), view["input_ids"].device) if own else None
    embeddings = adapter.embed(base, view["input_ids"])
    at = view["slots"].nonzero()[:, 0]
    targets = _targets(backbone, view, images[view["example"]], embeddings)
    if slots is not None:
        embeddings = embeddings.index_copy(0, at, slots.to(embeddings.dtype))
    if view["fed"] == "target":
        embeddings = embeddings.index_copy(0, at, targets.to(embeddings.dtype))

    def states() -> Tensor:
        return adapter.reference(base, view["input_ids"], embeddings, view["image_tokens"], shown, view["blocks"])

    if view["fed"] == "state":
        for slot in at.tolist():  # everything anew for each slot, with the ones before it in place
            embeddings = embeddings.index_copy(0, at.new_tensor([slot]), states()[slot - 1 : slot])
    hidden, fed = states(), embeddings
    if shown is not None:
        features = adapter.encode_images(base, shown)[:, : fed.shape[1]].to(fed.dtype)
        fed = fed.index_copy(0, view["image_tokens"].nonzero()[:, 0], features)
    return RowStates(hidden, fed, targets, at[: len(targets)])


def _targets(
    backbone: Backbone, view: Mapping[str, Any], images: Sequence[Mapping[str, Tensor]], like: Tensor
) -> Tensor:
    """Return what each latent slot stands for, one after another; nothing where slots have no target."""
    found: dict[int, list[Tensor]] = {}
    for slot, image, row in () if view["sources"] is None else view["sources"].tolist():
        shown = backbone.adapter.collate_images(send_to_device([images[image]], "cpu"))
        features = backbone.adapter.encode_images(backbone.base, send_to_device(shown, like.device))
        found.setdefault(slot, []).append(features[row, : like.shape[1]])
    wide = torch.promote_types(like.dtype, torch.float32)
    means = [torch.stack(rows).to(wide).mean(dim=0).to(like.dtype) for _, rows in sorted(found.items())]
    return torch.stack(means) if means else like[:0]
