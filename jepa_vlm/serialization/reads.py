"""Which states a request reads: index tensors into the rows, and what to count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from jepa_vlm.serialization.tokenized import IGNORED, TokenizedView
from jepa_vlm.views import Location, Readout, Region, ViewRequest


@final
@dataclass(frozen=True)
class Read:
    """One request, resolved for a batch.

    Args:
        tensors: What travels with the batch: ``row`` (its name) and ``index`` (places in the row); for a region also
            ``labels`` and ``document``, for a mean ``document`` and ``size``. For a stored target ``latent`` alone.
        lengths: Tokens of the region, by example; empty for a readout.
        supervised: For each example, the offsets of supervised tokens within the region.
    """

    tensors: dict[str, Any]
    lengths: tuple[int, ...] = ()
    supervised: tuple[tuple[int, ...], ...] = ()

    def of(self, examples: Sequence[int]) -> Read:
        """Return what is counted of some of the examples; no tensors."""
        lengths, supervised = ([held[i] for i in examples] if held else () for held in (self.lengths, self.supervised))
        return Read({}, tuple(lengths), tuple(supervised))  # type: ignore[arg-type]

    def pairs(self, horizon: int, *, supervised: bool) -> int:
        """Count (t, i), i = 1..horizon, with t and t + i in the region and, if asked, a supervised token at t + i."""
        offsets = self.supervised if supervised else tuple(tuple(range(length)) for length in self.lengths)
        return sum(min(offset, horizon) for own in offsets for offset in own)


def region_tokens(view: TokenizedView, region: Region) -> Tensor:
    """Return the positions of a region in a view. A view's first token is not supervised: no state predicts it."""
    if region == "supervised":
        return (view.labels[1:] != IGNORED).nonzero()[:, 0] + 1
    if region == "trajectory":
        return view.trajectory.nonzero()[:, 0]
    if region in ("latents", "before_latents"):
        return view.slots.nonzero()[:, 0]
    if region == "pads":
        return torch.arange(0) if view.pads is None else view.pads.nonzero()[:, 0]
    return torch.arange(len(view))


def needed_tokens(view: TokenizedView, request: ViewRequest) -> int:
    """Return how many tokens of the view, from the front, a request needs computed."""
    if request.readout == "mean":
        return int(view.content.nonzero()[-1]) + 1
    if request.readout is not None:
        return view.readouts[request.readout] + 1
    tokens = region_tokens(view, request.region or "all")
    if request.region == "supervised":
        tokens = tokens - 1  # the state that predicts a token stands one before it, and the token itself is not read
    return int(tokens[-1]) + 1 if len(tokens) else 1


def read_latent(views: Sequence[TokenizedView], readout: Readout, location: Location) -> Read:
    """Resolve a readout: one place per example, or for ``mean`` the places of its content tokens."""
    starts = _starts(views)
    if readout != "mean":
        places = torch.tensor([start + view.readouts[readout] for start, view in zip(starts, views, strict=True)])
        return Read({"row": location.row, "index": location.index[places]})
    content = [view.content.nonzero()[:, 0] for view in views]
    places = torch.cat([start + own for start, own in zip(starts, content, strict=True)])
    sizes = torch.tensor([len(own) for own in content])
    return Read({"row": location.row, "index": location.index[places], "document": _documents(sizes), "size": sizes})


def read_region(views: Sequence[TokenizedView], region: Region, location: Location) -> Read:
    """Resolve a region: for ``supervised`` and ``before_latents`` the places of the predicting states, else its own."""
    starts = _starts(views)
    tokens = [region_tokens(view, region) for view in views]
    places = torch.cat([start + own for start, own in zip(starts, tokens, strict=True)])
    labels = torch.cat([view.labels[own] for view, own in zip(views, tokens, strict=True)])
    sizes = torch.tensor([len(own) for own in tokens])
    supervised = tuple(
        tuple((view.labels[own] != IGNORED).nonzero()[:, 0].tolist()) for view, own in zip(views, tokens, strict=True)
    )
    tensors = {
        "row": location.row,
        "index": location.index[places - _shift(region)],
        "labels": labels,
        "document": _documents(sizes),
    }
    if region in ("latents", "before_latents"):
        tensors["slots"] = location.index[places]
    return Read(tensors, tuple(sizes.tolist()), supervised)


def _shift(region: Region | None) -> int:
    """Return how far before a region's tokens the states stand that are read: what predicts a token is one before."""
    return 1 if region in ("supervised", "before_latents") else 0


def _starts(views: Sequence[TokenizedView]) -> list[int]:
    ends = torch.tensor([len(view) for view in views]).cumsum(0)
    return [0, *ends[:-1].tolist()]


def _documents(sizes: Tensor) -> Tensor:
    return torch.arange(len(sizes)).repeat_interleave(sizes)
