"""Experts that need no weights: what the playground knows of its own scenes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, final

import torch
from einops import rearrange, reduce
from torch import Tensor

from jepa_vlm.errors import DataError
from jepa_vlm.experts.expert import Expert, ExpertTarget, Seen
from jepa_vlm.experts.mask_loss import MaskLoss
from jepa_vlm.experts.mean_loss import MeanLoss
from jepa_vlm.experts.query_head import QueryHead
from jepa_vlm.trajectories import LazyImage
from jepa_vlm.views import Pads

Kind = Literal["depth", "edges", "segmentation"]
SIDE, POOL, PATCH = 112, 4, 4  # of a picture in pixels; of what becomes one number; of numbers in an answer
MASKS, WIDTH = 8, 64


@final
@dataclass(frozen=True)
class TrueMap(ExpertTarget):
    """One map of a playground scene; blocks of pixels are averaged, of edges the strongest counts.

    Args:
        kind: Which.
    """

    kind: Kind

    @property
    def inputs(self) -> partial[Tensor]:
        """See ``ExpertTarget.inputs``: ("maps height width")."""
        return partial(true_map, kind=self.kind)

    def __call__(self, inputs: Tensor) -> Seen:
        """See ``ExpertTarget``: an answer for each patch of the map."""
        return Seen(inputs, patches)


def true_map(image: LazyImage, *, kind: Kind) -> Tensor:
    """Return a map of an image, ("maps height width").

    Raises:
        DataError: If the image does not come with it.
    """
    if image.truth is None or image.region is not None:
        raise DataError(
            f"The image has no true {kind}: only whole scenes of the playground have (visual-search, sequential-crops, "
            "relative-position). Distil another expert, or train on one of these tasks.",
            "no truth",
        )
    whole = torch.from_numpy(image.truth()[kind])
    how = "max" if kind == "edges" else "mean"
    return reduce(whole, "maps (height a) (width b) -> maps height width", how, a=POOL, b=POOL)


def patches(answer: Tensor) -> Tensor:
    """Return answers, one for each patch, as maps ("batch maps height width")."""
    return rearrange(
        answer,
        "batch (rows columns) (maps a b) -> batch maps (rows a) (columns b)",
        rows=SIDE // POOL // PATCH,
        a=PATCH,
        b=PATCH,
    )


def true_depth(*, pads: int = 4, weight: float = 1.0) -> Expert:
    """Return the expert for a scene's depth: L1, as CoVT's for Depth-Anything."""
    return _expert("depth", Pads("<|depth_pad|>", pads), 1, weight)


def true_edges(*, pads: int = 4, weight: float = 1.0) -> Expert:
    """Return the expert for a scene's edges: L1, as CoVT's for PiDiNet."""
    return _expert("edges", Pads("<|pidinet_pad|>", pads), 1, weight)


def true_segmentation(*, pads: int = 8, weight: float = 1.0) -> Expert:
    """Return the expert for the masks of a scene's shapes: dice and cross-entropy, as CoVT's for SAM, unmatched."""
    return _expert("segmentation", Pads("<|sam_pad|>", pads), MASKS, weight)


def _expert(kind: Kind, pads: Pads, maps: int, weight: float) -> Expert:
    queries = (SIDE // POOL // PATCH) ** 2
    return Expert(
        name=kind,
        pads=pads,
        target=TrueMap(kind),
        head=QueryHead(queries=queries, width=WIDTH, out=maps * PATCH**2),
        loss=MaskLoss() if kind == "segmentation" else MeanLoss(power=1),
        weight=weight,
    )
