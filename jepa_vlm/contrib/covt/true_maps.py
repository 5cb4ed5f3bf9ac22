"""Experts that need no weights: what the playground knows of its own scenes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, final

import torch
from einops import reduce
from torch import Tensor

from jepa_vlm.contrib.covt.expert import Expert, ExpertTarget, Seen
from jepa_vlm.contrib.covt.expert_heads import PadHead
from jepa_vlm.contrib.covt.expert_losses import MaskLoss, MeanLoss
from jepa_vlm.errors import DataError
from jepa_vlm.trajectories import LazyImage
from jepa_vlm.views import Pads

Kind = Literal["depth", "edges", "segmentation"]
SIDE, POOL = 112, 16  # of a picture, and of what becomes one number, in pixels
MASKS = 8


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
        """See ``ExpertTarget``: an answer for each pad, a map each."""
        return Seen(inputs, mean_map)


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


def mean_map(answer: Tensor) -> Tensor:
    """Return the mean of the pads' answers as maps ("batch maps height width")."""
    side = SIDE // POOL
    return reduce(answer, "batch pads (maps height width) -> batch maps height width", "mean", height=side, width=side)


# Weights at which the best answer that is the same for every picture costs about 1.
def true_depth(*, pads: int = 1, weight: float = 100.0) -> Expert:
    """Return the expert for a scene's depth."""
    return _expert("depth", Pads("<|depth_pad|>", pads), 1, weight)


def true_edges(*, pads: int = 1, weight: float = 4.0) -> Expert:
    """Return the expert for a scene's edges."""
    return _expert("edges", Pads("<|pidinet_pad|>", pads), 1, weight)


def true_segmentation(*, pads: int = 1, weight: float = 1.0) -> Expert:
    """Return the expert for the masks of a scene's shapes: CoVT's loss for SAM, unmatched."""
    return _expert("segmentation", Pads("<|sam_pad|>", pads), MASKS, weight)


def _expert(kind: Kind, pads: Pads, maps: int, weight: float) -> Expert:
    # Squares and not CoVT's L1: where most of a map is 0, the least absolute error is answered by 0 everywhere, until
    # a thing is likelier than not to be at a place.
    return Expert(
        name=kind,
        pads=pads,
        target=TrueMap(kind),
        head=PadHead(out=maps * (SIDE // POOL) ** 2),
        loss=MaskLoss() if kind == "segmentation" else MeanLoss(power=2),
        weight=weight,
    )
