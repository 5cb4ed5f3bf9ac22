"""Which states a request reads: index tensors into the rows, and what denominators count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from jepa_vlm.encoders.batch import Read
from jepa_vlm.encoders.plan import Location
from jepa_vlm.views import IGNORED, Request, TokenizedView

LATENT = ("latents", "before_latents")
PREDICTING = ("supervised", "before_latents")  # regions read one token early, at the state that predicts each token


def region_tokens(view: TokenizedView, region: str) -> Tensor:
    """Return the positions of a region in a view. A view's first token is not supervised: no state predicts it."""
    if region == "supervised":
        return (view.labels[1:] != IGNORED).nonzero()[:, 0] + 1
    if region == "trajectory":
        return view.trajectory.nonzero()[:, 0]
    if region == "all":
        return torch.arange(len(view))
    return view.marks[region].nonzero()[:, 0] if region in view.marks else torch.arange(0)


def needed_tokens(view: TokenizedView, request: Request) -> int:
    """Return how many tokens of the view, from the front, a request needs computed."""
    if request.at == "mean":
        return int(view.content.nonzero()[-1]) + 1
    if request.reads_one:
        return view.readouts[request.at] + 1
    tokens = region_tokens(view, request.at)
    if request.at == "supervised":
        tokens = tokens - 1  # the state that predicts a token stands one before it, and the token itself is not read
    return int(tokens[-1]) + 1 if len(tokens) else 1


def read(request: Request, views: Sequence[TokenizedView], locations: Mapping[Request, Location]) -> Read:
    """Resolve a request for a batch, given the tokens of its view for each example."""
    location = locations[request.encoding]
    return _read_one(request.at, views, location) if request.reads_one else _read_region(request.at, views, location)


def _read_one(at: str, views: Sequence[TokenizedView], location: Location) -> Read:
    """Resolve one place per example, or for ``mean`` the places of its content tokens."""
    starts = _starts(views)
    if at != "mean":
        places = torch.tensor([start + view.readouts[at] for start, view in zip(starts, views, strict=True)])
        return Read(location.row, location.index[places])
    content = [view.content.nonzero()[:, 0] for view in views]
    places = torch.cat([start + own for start, own in zip(starts, content, strict=True)])
    sizes = torch.tensor([len(own) for own in content])
    return Read(location.row, location.index[places], document=_documents(sizes), size=sizes)


def _read_region(region: str, views: Sequence[TokenizedView], location: Location) -> Read:
    starts = _starts(views)
    tokens = [region_tokens(view, region) for view in views]
    places = torch.cat([start + own for start, own in zip(starts, tokens, strict=True)])
    own_labels = [view.labels[own] for view, own in zip(views, tokens, strict=True)]
    sizes = torch.tensor([len(own) for own in tokens])
    return Read(
        location.row,
        location.index[places - (1 if region in PREDICTING else 0)],
        labels=torch.cat(own_labels),
        document=_documents(sizes),
        slots=location.index[places] if region in LATENT else None,
        lengths=tuple(sizes.tolist()),
        supervised=tuple(tuple((labels != IGNORED).nonzero()[:, 0].tolist()) for labels in own_labels),
    )


def _starts(views: Sequence[TokenizedView]) -> list[int]:
    ends = torch.tensor([len(view) for view in views]).cumsum(0)
    return [0, *ends[:-1].tolist()]


def _documents(sizes: Tensor) -> Tensor:
    return torch.arange(len(sizes)).repeat_interleave(sizes)
