"""Experts: what is distilled into the states at the pads of a conversation. Loaded on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jepa_vlm.lazy import on_first_use

if TYPE_CHECKING:
    from jepa_vlm.experts.dinov2_features import dinov2
    from jepa_vlm.experts.expert import Expert, ExpertHead, ExpertLoss, ExpertTarget, Seen
    from jepa_vlm.experts.mask_loss import MaskLoss
    from jepa_vlm.experts.mean_loss import MeanLoss
    from jepa_vlm.experts.pad_head import PadHead
    from jepa_vlm.experts.predicted_depth import depth_anything
    from jepa_vlm.experts.query_head import QueryHead
    from jepa_vlm.experts.sam_masks import sam
    from jepa_vlm.experts.true_maps import true_depth, true_edges, true_segmentation

_HOMES = {
    "Expert": "expert",
    "ExpertHead": "expert",
    "ExpertLoss": "expert",
    "ExpertTarget": "expert",
    "MaskLoss": "mask_loss",
    "MeanLoss": "mean_loss",
    "PadHead": "pad_head",
    "QueryHead": "query_head",
    "Seen": "expert",
    "depth_anything": "predicted_depth",
    "dinov2": "dinov2_features",
    "sam": "sam_masks",
    "true_depth": "true_maps",
    "true_edges": "true_maps",
    "true_segmentation": "true_maps",
}

__all__ = [
    "Expert",
    "ExpertHead",
    "ExpertLoss",
    "ExpertTarget",
    "MaskLoss",
    "MeanLoss",
    "PadHead",
    "QueryHead",
    "Seen",
    "depth_anything",
    "dinov2",
    "sam",
    "true_depth",
    "true_edges",
    "true_segmentation",
]

__getattr__ = on_first_use(__name__, _HOMES)
