"""The reference engine: one stock forward for each view of each example, images encoded anew. Slow and obvious."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import accumulate
from typing import final

import torch
from accelerate.utils import send_to_device
from torch import Tensor

from jepa_vlm.adapters import Backbone
from jepa_vlm.engine.batch import Batch, BatchPlan, Location, SequenceStates
from jepa_vlm.engine.engine import Engine, TargetWeights, call_attention
from jepa_vlm.views import Request, TokenizedView


@final
@dataclass(frozen=True)
class SeparateView:
    """One view of one example, as the stock model runs it.

    Args:
        input_ids: Token identifiers, (tokens,).
        image_tokens: True at image positions.
        slots: True at slots.
        groups: Tokens of the same number see each other both ways; None where all is causal.
        sources: What latent tokens stand for, ("features 3"); None without any.
        example: Number of the example.
        images: The images that the view shows, in order.
    """

    input_ids: Tensor
    image_tokens: Tensor
    slots: Tensor
    groups: Tensor | None
    sources: Tensor | None
    example: int
    images: tuple[int, ...]


@final
@dataclass(frozen=True)
class SeparateViews:
    """The views of one encoding.

    Args:
        encoding: Which view, under which weights.
        views: One for each example.
    """

    encoding: Request
    views: list[SeparateView]


@final
class SeparatePlanner:
    """Keeps every view whole and apart: nothing is shared, nothing is cut.

    Args:
        encodings: What the objective needs.
    """

    images_together = False

    def __init__(self, *, encodings: Sequence[Request]) -> None:
        self.encodings = tuple(encodings)

    def __call__(
        self,
        views: Mapping[Request, Sequence[TokenizedView]],
        needed: Mapping[Request, Sequence[int]],
        image_starts: Sequence[Sequence[int]],
    ) -> BatchPlan:
        """Return one entry per encoding, which lists its views."""
        sequences: dict[str, SeparateViews] = {}
        locations: dict[Request, Location] = {}
        for number, encoding in enumerate(self.encodings):
            own, name = views[encoding], f"{number}:{encoding.view.name}"
            sequences[name] = SeparateViews(
                encoding,
                [
                    SeparateView(
                        input_ids=view.input_ids,
                        image_tokens=view.image_tokens,
                        slots=view.slots,
                        groups=view.groups,
                        sources=view.slot_sources,
                        example=i,
                        images=view.images,
                    )
                    for i, view in enumerate(own)
                ],
            )
            locations[encoding] = Location(name, torch.arange(sum(len(view) for view in own)))
        return BatchPlan(sequences, locations)


@final
class Separate(Engine):
    """Runs every view of every example through the stock model: the reference."""

    name = "separate"
    shares_passes = False

    def planner(self, encodings: Sequence[Request], *, dropout: bool) -> SeparatePlanner:
        """See ``Engine.planner``."""
        return SeparatePlanner(encodings=encodings)

    def check(self, backbone: Backbone) -> None:
        """See ``Engine.check``: stock attention runs every backbone."""

    def prepare(self, backbone: Backbone) -> None:
        """Let every layer call stock attention, whatever engine ran on the backbone before."""
        call_attention(backbone.base, {"text_config": "sdpa", "vision_config": "sdpa"})

    def run(
        self, backbone: Backbone, weights: TargetWeights, batch: Batch, slot_inputs: Mapping[str, Tensor]
    ) -> dict[str, SequenceStates]:
        """See ``Engine.run``."""
        states: dict[str, SequenceStates] = {}
        for name, one in batch.sequences.items():
            encoding, policy = one.encoding, one.encoding.policy
            slots = slot_inputs[encoding.slots.owner] if encoding.slots else None
            tracked = policy.gradient and torch.is_grad_enabled()
            with torch.set_grad_enabled(tracked), nullcontext() if policy.gradient else weights.use(policy.weights):
                outs = [_run_view(backbone, encoding, view, batch.images, slots) for view in one.views]
            states[name] = _joined(outs)
        return states


def _joined(outs: Sequence[SequenceStates]) -> SequenceStates:
    starts = accumulate((len(out.hidden) for out in outs[:-1]), initial=0)
    return SequenceStates(
        hidden=torch.cat([out.hidden for out in outs]),
        inputs=torch.cat([out.inputs for out in outs]),
        targets=torch.cat([out.targets for out in outs if out.targets is not None]),
        slot_at=torch.cat([out.slot_at + at for out, at in zip(outs, starts, strict=True) if out.slot_at is not None]),
    )


def _run_view(
    backbone: Backbone,
    encoding: Request,
    view: SeparateView,
    images: Sequence[Sequence[Mapping[str, Tensor]]],
    slots: Tensor | None,
) -> SequenceStates:
    """Return the states of one view, and what the decoder was fed."""
    adapter, base = backbone.adapter, backbone.base
    own = send_to_device([images[view.example][i] for i in view.images], "cpu")
    shown = send_to_device(adapter.collate_images(own), view.input_ids.device) if own else None
    embeddings = adapter.embed(base, view.input_ids)
    at = view.slots.nonzero()[:, 0]
    targets = _targets(backbone, view, images[view.example], embeddings)
    if slots is not None:
        embeddings = embeddings.index_copy(0, at, slots.to(embeddings.dtype))
    if encoding.view.feeds_targets:
        embeddings = embeddings.index_copy(0, at, targets.to(embeddings.dtype))

    def states() -> Tensor:
        return adapter.reference(base, view.input_ids, embeddings, view.image_tokens, shown, view.groups)

    if encoding.view.sequential:
        for slot in at.tolist():  # everything anew for each slot, with the ones before it in place
            embeddings = embeddings.index_copy(0, at.new_tensor([slot]), states()[slot - 1 : slot])
    hidden, fed = states(), embeddings
    if shown is not None:
        features = adapter.encode_images(base, shown)[:, : fed.shape[1]].to(fed.dtype)
        fed = fed.index_copy(0, view.image_tokens.nonzero()[:, 0], features)
    return SequenceStates(hidden, fed, targets, at[: len(targets)])


def _targets(backbone: Backbone, view: SeparateView, images: Sequence[Mapping[str, Tensor]], like: Tensor) -> Tensor:
    """Return what each latent slot stands for, one after another; nothing where slots have no target."""
    found: dict[int, list[Tensor]] = {}
    for slot, image, row in () if view.sources is None else view.sources.tolist():
        shown = backbone.adapter.collate_images(send_to_device([images[image]], "cpu"))
        features = backbone.adapter.encode_images(backbone.base, send_to_device(shown, like.device))
        found.setdefault(slot, []).append(features[row, : like.shape[1]])
    wide = torch.promote_types(like.dtype, torch.float32)
    means = [torch.stack(rows).to(wide).mean(dim=0).to(like.dtype) for _, rows in sorted(found.items())]
    return torch.stack(means) if means else like[:0]
