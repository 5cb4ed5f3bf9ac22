"""Experts without weights: the playground's true maps of its own scenes."""

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
from jepa_vlm.contrib.covt.padded_conversation import Pads
from jepa_vlm.errors import DataError
from jepa_vlm.trajectories import LazyImage

Kind = Literal["depth", "edges", "segmentation"]
SIDE, POOL = 112, 16  # side of a picture, and of the block that becomes one number, in pixels
MASKS = 8


@final
@dataclass(frozen=True)
class TrueMap(ExpertTarget):
    """One map of a playground scene, with the mean of each block of pixels; for edges, the maximum.

    Args:
        kind: Kind of the map.
    """

    kind: Kind

    @property
    def inputs(self) -> partial[Tensor]:
        """See ``ExpertTarget.inputs``: ("maps height width")."""
        return partial(true_map, kind=self.kind)

    def __call__(self, inputs: Tensor) -> Seen:
        """See ``ExpertTarget``: the head predicts the maps once per expert token."""
        return Seen(inputs, mean_map)


def true_map(image: LazyImage, *, kind: Kind) -> Tensor:
    """Return a map of an image, ("maps height width").

    Raises:
        DataError: If the image has no such map.
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
    """Return the mean answer of the expert tokens as maps ("batch maps height width")."""
    side = SIDE // POOL
    return reduce(answer, "batch pads (maps height width) -> batch maps height width", "mean", height=side, width=side)


# With these weights, the best constant answer costs about 1.
def true_depth(*, pads: int = 1, weight: float = 100.0) -> Expert:
    """Return the expert for a scene's depth."""
    return _expert("depth", Pads("<|depth_pad|>", pads), 1, weight)


def true_edges(*, pads: int = 1, weight: float = 4.0) -> Expert:
    """Return the expert for a scene's edges."""
    return _expert("edges", Pads("<|pidinet_pad|>", pads), 1, weight)


def true_segmentation(*, pads: int = 1, weight: float = 1.0) -> Expert:
    """Return the expert for the masks of a scene's shapes, with CoVT's loss for SAM, without matching."""
    return _expert("segmentation", Pads("<|sam_pad|>", pads), MASKS, weight)


def _expert(kind: Kind, pads: Pads, maps: int, weight: float) -> Expert:
    # Squared differences instead of CoVT's absolute ones. Most of a map is 0; with absolute differences, 0 is the best
    # answer at every place where an object is less likely than not.
    return Expert(
        name=kind,
        pads=pads,
        target=TrueMap(kind),
        head=PadHead(out=maps * (SIDE // POOL) ** 2),
        loss=MaskLoss() if kind == "segmentation" else MeanLoss(power=2),
        weight=weight,
    )
